/** The folder of sources, with building replaced: which files are built, when, and what is said of those that fail. */
import { realpathSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ContentStore } from '@flowops/proto/content-store.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import type { BuildResult } from '@flowops/sdk/build/build-result.ts';
import { buildFailure } from '@flowops/sdk/build/build-result.ts';
import { SourceFolderSource } from '@flowops/sdk/registry/source-folder-source.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { scratchFolder } from '../../services/scratch.ts';
import { bundleBytes } from '../../support/bundle-bytes.ts';

const signal = new AbortController().signal;
let dir: string;
let cacheDir: string;
let built: string[];
let source: SourceFolderSource;

/** A "source" here is `name: 'x.y', version: '1.0.0' …`; the text is the code, `BROKEN` does not build. */
async function build(file: string): Promise<BuildResult> {
  built.push(basename(file));
  const text = await readFile(file, 'utf8');
  if (text.includes('BROKEN'))
    return buildFailure('PLUGIN_INVALID', [{ file: basename(file), line: 3, message: 'bad' }]);
  if (text.includes('NO SANDBOX')) return buildFailure('SANDBOX_UNAVAILABLE', [{ message: 'no sandbox' }]);
  const [, name = 'no.name'] = /name: '([^']*)'/.exec(text) ?? /NAME=(\S+)/.exec(text) ?? [];
  const [, version = '1.0.0'] = /version: '([^']*)'/.exec(text) ?? [];
  const bundle = bundleBytes({ name, version, code: JSON.stringify(text) });
  const manifest = { name, version, description: '', permissions: { net: [], secrets: [] }, inputs: {}, outputs: {} };
  return {
    ok: true,
    bundle,
    digest: digestOf(bundle),
    manifest,
    sourceMap: '{"version":3}',
    warnings: [],
    sources: [],
  };
}

function open(): SourceFolderSource {
  return new SourceFolderSource({
    dir,
    cacheDir,
    store: new ContentStore({ dir: join(cacheDir, 'bundles') }),
    sandbox: async () => ({ ok: false, code: 'SANDBOX_UNAVAILABLE', message: 'not asked for here' }),
    log: () => {},
    load: build,
  });
}

beforeEach(() => {
  dir = scratchFolder();
  cacheDir = scratchFolder();
  built = [];
  source = open();
});

const put = (name: string, text: string) => writeFile(join(dir, name), text);
const resolve = (name: string, version?: string) => source.resolve(name, version, signal);

describe('what is built', () => {
  test('of a hundred plugins only the one that the flow names', async () => {
    for (let n = 0; n < 100; n++) await put(`p${n}.ts`, `name: 'p${n}'`);
    expect(await resolve('p42')).toMatchObject({ ok: true, plugin: { pluginId: 'p42' } });
    expect(built).toEqual(['p42.ts']);
  });

  test('is known by the folder of its sources, a bundle that came as it is by none', async () => {
    await put('a.ts', `name: 'a'`);
    await writeFile(join(dir, 'b.js'), bundleBytes({ name: 'b', version: '1.0.0', code: "// name: 'b'" }));
    const [a, b] = [await resolve('a'), await resolve('b')];
    if (!a.ok || !b.ok) throw new Error('both are there');
    expect(source.sourceFolder(a.plugin.digest)).toBe(realpathSync(dir));
    expect(source.sourceFolder(b.plugin.digest)).toBeUndefined();
  });

  test('all of them when no text mentions the name, and a name that is put together is found so', async () => {
    await put('a.ts', `name: 'a'`);
    await put('computed.ts', 'NAME=put.together');
    expect(await resolve('put.together')).toMatchObject({ ok: true });
    expect(built.sort()).toEqual(['a.ts', 'computed.ts']);
    expect(await resolve('nothing.here')).toMatchObject({ code: 'PLUGIN_NOT_FOUND' });
  });

  test('a plugin that many steps name at once is built once', async () => {
    await put('a.ts', `name: 'a'`);
    await Promise.all(Array.from({ length: 20 }, () => resolve('a')));
    expect(built).toEqual(['a.ts']);
  });

  test('tests, configurations, declarations, node_modules and hidden files are no plugins', async () => {
    for (const name of ['a.test.ts', 'vitest.config.ts', 'types.d.ts', '.hidden.ts', 'readme.md', 'flow.yaml']) {
      await put(name, `name: 'a'`);
    }
    for (const folder of ['node_modules', 'dist', 'test']) {
      await mkdir(join(dir, folder));
      await put(`${folder}/a.ts`, `name: 'a'`);
    }
    expect(await resolve('a')).toMatchObject({ code: 'PLUGIN_NOT_FOUND' });
    expect(built).toEqual([]);
  });

  test('a folder with one plugin is one, beside its test and its configuration', async () => {
    await mkdir(join(dir, 'greet'));
    await put('greet/greet.ts', `name: 'greet'`);
    await put('greet/greet.test.ts', `name: 'greet'`);
    await put('greet/vitest.config.ts', '');
    expect(await resolve('greet')).toMatchObject({ ok: true });
    expect(built).toEqual(['greet.ts']);
  });
});

describe('what cannot be built', () => {
  test('hides no other plugin and is told when something is not found', async () => {
    await put('good.ts', `name: 'good'`);
    await put('bad.ts', 'BROKEN');
    await mkdir(join(dir, 'two'));
    await put('two/a.ts', '');
    await put('two/b.ts', '');
    expect(await resolve('good')).toMatchObject({ ok: true });
    expect(await resolve('goood')).toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
      message: expect.stringMatching(
        /nearest is "good".*could not be built: bad\.ts: bad\.ts:3: bad; two: .*two holds 2/,
      ),
    });
    expect(await source.names(signal)).toEqual(['good']);
  });

  test('is the answer itself when its text mentions the name', async () => {
    await put('mine.ts', `name: 'mine' BROKEN`);
    expect(await resolve('mine')).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining('mine.ts:3: bad'),
    });
  });

  test('for lack of a sandbox leaves the question open', async () => {
    await put('other.ts', 'NO SANDBOX');
    expect(await resolve('mine')).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
  });

  test('because the folder went away is no throw', async () => {
    await rm(dir, { recursive: true });
    expect(await resolve('mine')).toMatchObject({ code: 'SANDBOX_UNAVAILABLE', message: expect.stringContaining(dir) });
  });
});

describe('changes while it is open', () => {
  test('a changed file is built at the next resolve, and the digest given out before stays served', async () => {
    await put('a.ts', `name: 'a'`);
    const before = await resolve('a');
    if (!before.ok) throw new Error(before.message);
    await put('a.ts', `name: 'a' // changed`);
    const after = await resolve('a');
    if (!after.ok) throw new Error(after.message);
    expect(after.plugin.digest).not.toBe(before.plugin.digest);
    const pinned = { pluginId: 'a', version: '1.0.0', digest: before.plugin.digest };
    expect(await source.bundle(pinned, signal)).toMatchObject({ ok: true, bundle: { digest: before.plugin.digest } });
    expect(await open().resolve('a', before.plugin.digest, signal)).toMatchObject({ ok: true });
    expect(await source.sourceMap(before.plugin.digest)).toBe('{"version":3}');
  });

  test('a new file is seen, a removed one is gone', async () => {
    expect(await resolve('a')).toMatchObject({ ok: false });
    await put('a.ts', `name: 'a'`);
    expect(await resolve('a')).toMatchObject({ ok: true });
    await rm(join(dir, 'a.ts'));
    expect(await resolve('a')).toMatchObject({ ok: false });
  });

  test('a disk that keeps nothing does not lose what was resolved', async () => {
    await writeFile(join(cacheDir, 'bundles'), 'a file where the folder should be');
    await put('a.ts', `name: 'a'`);
    const resolved = await resolve('a');
    if (!resolved.ok) throw new Error(resolved.message);
    const { digest } = resolved.plugin;
    expect(await source.bundle({ pluginId: 'a', version: '1.0.0', digest }, signal)).toMatchObject({ ok: true });
  });
});

describe('several of one name', () => {
  test('the highest release is the latest, a pre-release only by its version', async () => {
    await put('old.ts', `name: 'a', version: '1.9.0'`);
    await put('new.ts', `name: 'a', version: '1.10.0'`);
    await put('next.ts', `name: 'a', version: '2.0.0-rc.1'`);
    expect(await resolve('a')).toMatchObject({ plugin: { manifest: { version: '1.10.0' } } });
    expect(await resolve('a', '1.9.0')).toMatchObject({ plugin: { manifest: { version: '1.9.0' } } });
    expect(await resolve('a', '2.0.0-rc.1')).toMatchObject({ ok: true });
    expect(await resolve('a', '3.0.0')).toMatchObject({ message: expect.stringContaining('1.10.0') });
  });

  test('two sources of one name and version with different code are an error that names both', async () => {
    await put('one.ts', `name: 'a' 1`);
    await put('two.ts', `name: 'a' 2`);
    expect(await resolve('a')).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringMatching(/one\.ts.*two\.ts/),
    });
  });

  test('a bundle beside its own source gives way to the source', async () => {
    await put('a.ts', `name: 'a' // the newest`);
    await writeFile(join(dir, 'a-1.0.0.js'), `//! flowops-plugin {"name": 'a', version: '1.0.0'}\n`);
    const resolved = await resolve('a');
    if (!resolved.ok) throw new Error(resolved.message);
    const given = await source.bundle({ pluginId: 'a', version: '1.0.0', digest: resolved.plugin.digest }, signal);
    expect(given.ok && Buffer.from(given.bundle.bytes).toString()).toContain('the newest');
  });
});
