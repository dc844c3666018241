import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, pluginVersionUuid } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import { isRegistryFolder, RegistryFolder } from '@flowops/sdk/registry/registry-folder.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { scratchFolder } from '../../services/scratch.ts';
import { bundleBytes } from '../../support/bundle-bytes.ts';
import { newSigner } from '../../support/signer.ts';

let dir: string;
let folder: RegistryFolder;
const logged: string[] = [];
beforeEach(() => {
  dir = scratchFolder();
  logged.length = 0;
  folder = new RegistryFolder(dir, (message) => logged.push(message));
});

const ONE = bundleBytes({ version: '1.0.0' });

async function publish(version: string, code?: string) {
  return await folder.publish({ bytes: bundleBytes({ version, ...(code === undefined ? {} : { code }) }) });
}

async function latest(pluginId = 'core.hello'): Promise<string> {
  const found = await folder.find(pluginId, '');
  return found.kind === 'found' ? found.version.version : found.kind;
}

describe('publishing', () => {
  test('puts the bundle, its signature and its map under <pluginId>/<version> and nothing else', async () => {
    const signature = newSigner().sign(ONE);
    expect(await folder.publish({ bytes: ONE, signature, sourceMap: '{}' })).toMatchObject({ kind: 'stored' });
    expect((await readdir(join(dir, 'core.hello'))).sort()).toEqual(['1.0.0.js', '1.0.0.js.map', '1.0.0.js.sig']);
    expect(digestOf(await readFile(join(dir, 'core.hello/1.0.0.js')))).toBe(digestOf(ONE));
    expect(await readFile(join(dir, 'core.hello/1.0.0.js.sig'), 'utf8')).toBe(signature);
  });

  test('the same bytes again are fine, other bytes under that version are refused and change nothing', async () => {
    await publish('1.0.0');
    expect(await publish('1.0.0')).toMatchObject({ kind: 'unchanged' });
    expect(await publish('1.0.0', 'export default 2')).toMatchObject({ kind: 'exists' });
    expect(digestOf(await readFile(join(dir, 'core.hello/1.0.0.js')))).toBe(digestOf(ONE));
  });

  test('of many at once under one version exactly one is stored', async () => {
    const results = await Promise.all(Array.from({ length: 10 }, (_, n) => publish('1.0.0', `export default ${n}`)));
    const kinds = results.map((result) => result.kind).sort();
    expect(kinds).toEqual([...Array(9).fill('exists'), 'stored']);
  });

  test('two processes on one folder do not overwrite each other', async () => {
    const other = new RegistryFolder(dir);
    const [mine, theirs] = await Promise.all([
      folder.publish({ bytes: bundleBytes({ code: '1' }) }),
      other.publish({ bytes: bundleBytes({ code: '2' }) }),
    ]);
    expect([mine.kind, theirs.kind].sort()).toEqual(['exists', 'stored']);
  });

  test.each([
    ['a Java archive', Buffer.from([0x50, 0x4b, 3, 4, 0, 0]), /Java archive/],
    ['junk', Buffer.from('hello'), /first line/],
    ['nothing', Buffer.alloc(0), /empty/],
    ['too many bytes', Buffer.alloc(MAX_BUNDLE_BYTES + 1), /at most/],
  ])('%s is refused by name and leaves no file', async (_name, bytes, message) => {
    const result = await folder.publish({ pluginId: 'core.hello', bytes });
    expect(result).toMatchObject({ kind: 'broken', message: expect.stringMatching(message) });
    expect(await readdir(dir)).toEqual([]);
  });

  test.each([
    ['an empty id', ''],
    ['dots', '..'],
    ['a path up', '../x'],
    ['a path down', 'a/b'],
    ['capitals', 'UPPER'],
    ['an id of 100 KB', 'x'.repeat(100_000)],
    ['a zero byte', 'a\0b'],
  ])('%s never becomes a path', async (_name, pluginId) => {
    const result = await folder.publish({ pluginId, bytes: ONE });
    expect(result.kind).toBe('malformed');
    expect('message' in result && result.message.length).toBeLessThan(400);
    expect(await readdir(dir)).toEqual([]);
  });

  test.each(['abc', '{}', '{"keyId":"0123456789abcdef","signature":"AA=="}', 'x'.repeat(5000)])(
    'a signature that is no content of a .sig file is refused: %s',
    async (signature) => {
      expect(await folder.publish({ bytes: ONE, signature })).toMatchObject({ kind: 'malformed' });
      expect(await readdir(dir)).toEqual([]);
    },
  );

  test('a version published unsigned can be signed later with the same bytes', async () => {
    const [old, next] = [newSigner().sign(ONE), newSigner().sign(ONE)];
    for (const signature of [old, next]) {
      await folder.publish({ bytes: ONE });
      await folder.publish({ bytes: ONE, signature });
      await folder.publish({ bytes: ONE });
      expect(await folder.read('core.hello', '1.0.0')).toMatchObject({ files: { signature } });
      expect(await folder.signatureOf('core.hello', '1.0.0', digestOf(ONE))).toBe(signature);
    }
  });

  test('other bytes under a version bring no signature in', async () => {
    await folder.publish({ bytes: ONE });
    const other = bundleBytes({ code: 'export default 2' });
    expect(await folder.publish({ bytes: other, signature: newSigner().sign(other) })).toMatchObject({
      kind: 'exists',
    });
    expect(await folder.signatureOf('core.hello', '1.0.0', digestOf(ONE))).toBeUndefined();
  });
});

describe('what lies there', () => {
  test('a signature and a map of somebody who died before his bundle was there do not join other bytes', async () => {
    await mkdir(join(dir, 'core.hello'));
    await writeFile(join(dir, 'core.hello/1.0.0.js.sig'), newSigner().sign(bundleBytes({ code: 'lost' })));
    await writeFile(join(dir, 'core.hello/1.0.0.js.map'), '{"version":3}');
    await publish('1.0.0');
    expect(await readdir(join(dir, 'core.hello'))).toEqual(['1.0.0.js']);
  });

  test('a version that cannot be compared is none, and hides no other', async () => {
    await publish('1.0.0');
    const line = (version: string) => `//! flowops-plugin {"name":"core.hello","version":"${version}"}\n`;
    for (const version of ['1.0.0-01', `${'9'.repeat(20)}.0.0`]) {
      expect(await folder.publish({ bytes: Buffer.from(line(version)) }), version).toMatchObject({ kind: 'broken' });
      await writeFile(join(dir, `core.hello/${version}.js`), line(version));
    }
    expect(await latest()).toBe('1.0.0');
  });
});

describe('finding', () => {
  test('latest is the highest release by semver that is not withdrawn, never a pre-release', async () => {
    for (const version of ['1.9.0', '1.10.0', '1.2.0', '2.0.0-rc.1']) await publish(version);
    expect(await latest()).toBe('1.10.0');
    await folder.withdraw('core.hello', '1.10.0', { restore: false });
    expect(await latest()).toBe('1.9.0');
    expect(await folder.find('core.hello', '1.10.0')).toMatchObject({ kind: 'found', version: { isWithdrawn: true } });
    await folder.withdraw('core.hello', '1.10.0', { restore: true });
    expect(await latest()).toBe('1.10.0');
    expect(await folder.find('core.hello', '2.0.0-rc.1')).toMatchObject({ kind: 'found' });
  });

  test('a plugin of pre-releases only has no latest, and the message names them', async () => {
    await publish('1.0.0-beta');
    expect(await folder.find('core.hello', '')).toMatchObject({
      kind: 'missing',
      message: expect.stringContaining('1.0.0-beta'),
    });
  });

  test('a version is found by itself and by its UUID in any letter case', async () => {
    await publish('1.0.0');
    const uuid = pluginVersionUuid('core.hello', '1.0.0');
    for (const id of ['1.0.0', uuid, uuid.toUpperCase()]) {
      expect(await folder.find('core.hello', id), id).toMatchObject({ kind: 'found', version: { uuid } });
    }
    expect(await folder.find('core.hello', pluginVersionUuid('core.hello', '3.0.0'))).toMatchObject({
      kind: 'missing',
    });
    expect(await folder.find('core.hello', '../1.0.0')).toMatchObject({ kind: 'malformed' });
  });

  test('a pluginId that is a UUID is one in any letter case', async () => {
    const pluginId = '0F2F3C1E-9A64-4A35-8A62-51F7D2F4AB01';
    await folder.publish({ pluginId, bytes: ONE });
    for (const id of [pluginId, pluginId.toLowerCase()]) {
      expect(await folder.find(id, ''), id).toMatchObject({
        kind: 'found',
        version: { pluginId: pluginId.toLowerCase(), uuid: pluginVersionUuid(pluginId.toLowerCase(), '1.0.0') },
      });
    }
  });

  test('an unknown plugin is missing, with the nearest name', async () => {
    await publish('1.0.0');
    expect(await folder.find('core.helo', '')).toMatchObject({
      kind: 'missing',
      message: expect.stringContaining('"core.hello"'),
    });
  });

  test('files that somebody copied in, replaced or removed are seen at the next call', async () => {
    expect(await latest('a.b')).toBe('missing');
    await mkdir(join(dir, 'a.b'));
    await writeFile(join(dir, 'a.b/1.0.0.js'), bundleBytes({ name: 'a.b' }));
    expect(await latest('a.b')).toBe('1.0.0');
    await writeFile(join(dir, 'a.b/1.1.0.js'), bundleBytes({ name: 'a.b', version: '1.1.0' }));
    expect(await latest('a.b')).toBe('1.1.0');
    await writeFile(join(dir, 'a.b/1.1.0.js'), bundleBytes({ name: 'a.b', version: '1.1.0', code: 'longer code' }));
    expect(await folder.find('a.b', '1.1.0')).toMatchObject({
      version: { digest: digestOf(bundleBytes({ name: 'a.b', version: '1.1.0', code: 'longer code' })) },
    });
    await rm(join(dir, 'a.b/1.1.0.js'));
    expect(await latest('a.b')).toBe('1.0.0');
  });

  test('a broken file hides neither the other versions nor the other plugins, and is told when asked for', async () => {
    await publish('1.0.0');
    await writeFile(join(dir, 'core.hello/2.0.0.js'), 'not a bundle');
    await writeFile(join(dir, 'core.hello/3.0.0.js'), bundleBytes({ version: '9.9.9' }));
    expect(await latest()).toBe('1.0.0');
    expect(await folder.find('core.hello', '2.0.0')).toMatchObject({ kind: 'broken' });
    expect(await folder.find('core.hello', '3.0.0')).toMatchObject({
      kind: 'broken',
      message: expect.stringContaining('9.9.9'),
    });
    expect((await folder.versions('core.hello')).map((one) => one.version)).toEqual(['1.0.0']);
    expect(logged.join('\n')).toContain('2.0.0.js is not served');
  });

  test('what a dead publisher left half-written is no version', async () => {
    await publish('1.0.0');
    await writeFile(join(dir, 'core.hello/2.0.0.js.abc.tmp'), ONE);
    expect((await folder.versions('core.hello')).map((one) => one.version)).toEqual(['1.0.0']);
  });
});

describe('recognising a registry folder', () => {
  test('one version file in one plugin folder is enough; sources are none', async () => {
    expect(await isRegistryFolder(dir)).toBe(false);
    await mkdir(join(dir, 'hello'));
    await writeFile(join(dir, 'hello/index.js'), '');
    expect(await isRegistryFolder(dir)).toBe(false);
    await publish('1.0.0');
    expect(await isRegistryFolder(dir)).toBe(true);
  });
});
