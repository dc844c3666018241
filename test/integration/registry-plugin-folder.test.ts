/** A folder of true sources with the true builder and sandbox, then the same folder where nothing may be built. */
import { cp, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { openPluginFolder } from '@flowops/sdk/registry/plugin-folder.ts';
import { expect, test } from 'vitest';
import { scratchFolder } from '../services/scratch.ts';
import { developerHost } from '../support/developer-host.ts';

const ROOT = join(import.meta.dirname, '../..');
const sandbox = developerHost();
const signal = new AbortController().signal;

async function folderOfExamples(): Promise<string> {
  const dir = join(scratchFolder(), 'plugins');
  await mkdir(dir);
  for (const name of ['01-hello', '04-function']) {
    await cp(join(ROOT, 'sdk/examples', name), join(dir, name), { recursive: true, preserveTimestamps: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(dir, '../node_modules'));
  return dir;
}

test('what a flow names is built in the sandbox once, and a later process builds nothing', async () => {
  const [dir, cacheDir] = [await folderOfExamples(), scratchFolder()];
  let asked = 0;
  const counted = () => {
    asked++;
    return sandbox();
  };
  const first = await openPluginFolder(dir, { cacheDir, sandbox: counted });
  const resolved = await first.resolve('example.hello', undefined, signal);
  expect(resolved).toMatchObject({ ok: true, plugin: { manifest: { name: 'example.hello', version: '1.0.0' } } });
  expect(asked).toBe(1);
  await first.close();

  const later = await openPluginFolder(dir, {
    cacheDir,
    sandbox: () => Promise.reject(new Error('nothing is to be built')),
  });
  expect(await later.resolve('example.hello', undefined, signal)).toEqual(resolved);
  if (!resolved.ok) return;
  const { digest, manifest } = resolved.plugin;
  const given = await later.bundle({ pluginId: 'example.hello', version: manifest.version, digest }, signal);
  expect(given).toMatchObject({ ok: true, bundle: { digest } });
  expect(await later.sourceMap(digest)).toContain('hello.ts');
  await later.close();
});

test('names builds all there are', async () => {
  const folder = await openPluginFolder(await folderOfExamples(), { cacheDir: scratchFolder(), sandbox });
  expect(await folder.names(signal)).toEqual(['example.hello', 'example.word-count']);
  await folder.close();
});

test('a folder that does not exist is said by name', async () => {
  await expect(openPluginFolder('/nowhere/at/all', { cacheDir: scratchFolder(), sandbox })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('/nowhere/at/all'),
  });
});
