import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, manifestSchema } from '@flowops/proto/manifest.ts';
import type { BuildResult } from '@flowops/sdk/build/build-result.ts';
import { loadPluginFile } from '@flowops/sdk/build/load-plugin-file.ts';
import { describe, expect, it } from 'vitest';
import { AnsweringSandbox, completedWith } from '../../../support/answering-sandbox.ts';
import { sourceTree, writeSource } from '../../../support/source-tree.ts';

/** A plugin over two files and a package, built until the cache holds it. */
async function cachedPlugin() {
  const folder = sourceTree({
    'plugin/task.ts':
      "import { word } from './word.ts';\nimport p from 'pack';\nimport { TaskError } from '@flowops/sdk';\nexport default { word, p, TaskError };",
    'plugin/word.ts': "export const word = 'first';",
    'plugin/word.test.ts': 'throw new Error("a test is no part of the plugin");',
    'node_modules/pack/package.json': '{"name":"pack","version":"1.0.0","main":"a.js"}',
    'node_modules/pack/a.js': "module.exports = 'pack a';",
    'node_modules/pack/b.js': "module.exports = 'pack b';",
  });
  const sandbox = new AnsweringSandbox(() => completedWith({ name: 'demo.cached', version: '1.0.0' }));
  const cacheDir = path.join(folder, 'cache');
  const load = () => loadPluginFile(path.join(folder, 'plugin/task.ts'), { cacheDir, sandbox: sandbox.open });
  const first = await load();
  // Files written in the same tick as the build began are not vouched for; the next build comes later than that.
  for (let tries = 0; tries < 50 && !hasRecord(cacheDir); tries++) await load();
  expect(hasRecord(cacheDir)).toBe(true);
  return { folder, cacheDir, sandbox, load, first, openedBefore: sandbox.opened };
}

function hasRecord(cacheDir: string): boolean {
  try {
    return recordsOf(cacheDir).length > 0;
  } catch {
    return false;
  }
}

function recordsOf(cacheDir: string): string[] {
  return readdirSync(path.join(cacheDir, 'builds')).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
}

function textOf(result: BuildResult): string {
  if (!result.ok) throw new Error(result.message);
  return Buffer.from(result.bundle).toString('utf8');
}

describe('the cache of builds', () => {
  it('gives an unchanged source its bundle, manifest and map without a sandbox', async () => {
    const { load, first, sandbox, openedBefore } = await cachedPlugin();
    const again = await load();
    expect(again).toEqual(first);
    expect(sandbox.opened).toBe(openedBefore);
  });

  it('sees a change in any file that went into the bundle', async () => {
    const { folder, load } = await cachedPlugin();
    writeSource(folder, 'plugin/word.ts', "export const word = 'other';");
    expect(textOf(await load())).toContain("'other'".replaceAll("'", '"'));
  });

  it('sees a package whose package.json names another file', async () => {
    const { folder, load, first } = await cachedPlugin();
    expect(textOf(first)).toContain('pack a');
    writeSource(folder, 'node_modules/pack/package.json', '{"name":"pack","version":"1.0.1","main":"b.js"}');
    expect(textOf(await load())).toContain('pack b');
  });

  it('sees an SDK that the author has installed since', async () => {
    const { folder, load, first } = await cachedPlugin();
    expect(textOf(first)).toContain('TaskError');
    writeSource(folder, 'plugin/node_modules/@flowops/sdk/package.json', '{"name":"@flowops/sdk","main":"i.js"}');
    writeSource(folder, 'plugin/node_modules/@flowops/sdk/i.js', "exports.TaskError = 'of the author';");
    expect(textOf(await load())).toContain('of the author');
  });

  it('asks no sandbox about code that one has already told of: a touched file, a copy elsewhere', async () => {
    const { folder, load, first, cacheDir, sandbox, openedBefore } = await cachedPlugin();
    utimesSync(path.join(folder, 'plugin/word.ts'), new Date(), new Date());
    expect(await load()).toEqual(first);
    cpSync(path.join(folder, 'plugin'), path.join(folder, 'copy'), { recursive: true });
    const copy = await loadPluginFile(path.join(folder, 'copy/task.ts'), { cacheDir, sandbox: sandbox.open });
    expect(textOf(copy)).toBe(textOf(first));
    expect(sandbox.opened).toBe(openedBefore);
  });

  it('asks a sandbox where what one told is cut off', async () => {
    const { folder, load, first, cacheDir, sandbox, openedBefore } = await cachedPlugin();
    for (const name of readdirSync(path.join(cacheDir, 'builds'))) {
      if (name.startsWith('manifest-')) truncateSync(path.join(cacheDir, 'builds', name), 10);
    }
    utimesSync(path.join(folder, 'plugin/word.ts'), new Date(), new Date());
    expect(await load()).toEqual(first);
    expect(sandbox.opened).toBe(openedBefore + 1);
  });

  it('does not see a change in a file that is no part of the bundle', async () => {
    const { folder, load, sandbox, openedBefore } = await cachedPlugin();
    writeSource(folder, 'plugin/word.test.ts', '// changed');
    await load();
    expect(sandbox.opened).toBe(openedBefore);
  });

  it('builds again where a stored bundle is no longer what its digest says', async () => {
    const { cacheDir, load, first } = await cachedPlugin();
    for (const name of readdirSync(path.join(cacheDir, 'builds/bundles'))) {
      if (!name.includes('.')) writeFileSync(path.join(cacheDir, 'builds/bundles', name), 'throw "somebody else"');
    }
    expect(textOf(await load())).toBe(textOf(first));
  });

  it.each([
    ['is cut off', (file: string) => truncateSync(file, 40)],
    ['is of another form', (file: string) => writeFileSync(file, '{"format":0}')],
  ])('builds again where a record %s', async (_what, damage) => {
    const { cacheDir, load, first } = await cachedPlugin();
    const [record = ''] = recordsOf(cacheDir).map((name) => path.join(cacheDir, 'builds', name));
    const before = readFileSync(record, 'utf8');
    damage(record);
    expect(textOf(await load())).toBe(textOf(first));
    expect(readFileSync(record, 'utf8')).toBe(before);
  });

  it('costs only speed where it cannot be written', async () => {
    const folder = sourceTree({ 'task.js': 'export default {};', cache: 'a file, so no folder' });
    const sandbox = new AnsweringSandbox(() => completedWith({ name: 'demo.cached', version: '1.0.0' }));
    const options = { cacheDir: path.join(folder, 'cache'), sandbox: sandbox.open };
    expect((await loadPluginFile(path.join(folder, 'task.js'), options)).ok).toBe(true);
    expect((await loadPluginFile(path.join(folder, 'task.js'), options)).ok).toBe(true);
  });
});

describe('a built bundle', () => {
  const manifest = manifestSchema.parse({ name: 'demo.built', version: '2.0.0' });
  const bundle = `${formatManifestLine(manifest)}throw new Error('evaluated');\n`;
  const options = { cacheDir: '/nonexistent', sandbox: () => Promise.reject(new Error('a sandbox was opened')) };

  it('is read by its first line, and its map with it', async () => {
    const folder = sourceTree({ 'built.js': bundle, 'built.js.map': '{"version":3}' });
    const loaded = await loadPluginFile(path.join(folder, 'built.js'), options);
    expect(loaded).toMatchObject({
      ok: true,
      manifest,
      digest: digestOf(Buffer.from(bundle)),
      sourceMap: '{"version":3}',
    });
  });

  it('is whole without a map', async () => {
    const folder = sourceTree({ 'built.js': bundle });
    expect(await loadPluginFile(path.join(folder, 'built.js'), options)).toMatchObject({ ok: true, sourceMap: '' });
  });

  it('is refused with a first line that is no manifest', async () => {
    const folder = sourceTree({ 'built.js': '//! flowops-plugin {"name":"X"}\n' });
    const loaded = await loadPluginFile(path.join(folder, 'built.js'), options);
    expect(loaded).toMatchObject({ ok: false, code: 'PLUGIN_INVALID' });
    expect(loaded.ok ? '' : loaded.message).toMatch(/built\.js: name: must be/);
  });

  it('may be the only file of a folder', async () => {
    const folder = sourceTree({ 'dist/built.js': bundle });
    expect(await loadPluginFile(path.join(folder, 'dist'), options)).toMatchObject({ ok: true, manifest });
    rmSync(path.join(folder, 'dist/built.js'));
    expect(await loadPluginFile(path.join(folder, 'dist'), options)).toMatchObject({ code: 'PLUGIN_NOT_FOUND' });
  });
});
