import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildIsolatePrelude, buildPrelude } from '../../sandbox/bundling/build-program.ts';
import { prepareIsolateAssets } from '../../sandbox/isolate/assets.ts';
import { isolateWorkerProgram, WorkerHost } from '../support/worker-host.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'flowops-assets-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('a second start takes the worker that the first one built', async () => {
  const first = await prepareIsolateAssets(folder);
  const { mtimeMs } = await stat(first.workerPath);
  expect(await prepareIsolateAssets(folder)).toEqual(first);
  expect((await stat(first.workerPath)).mtimeMs).toBe(mtimeMs);
  expect(first.workerHash).toMatch(/^[0-9a-f]{64}$/);
});

test('a stamp that cannot be read or a worker that is gone makes it build again', async () => {
  const first = await prepareIsolateAssets(folder);
  await writeFile(path.join(path.dirname(first.workerPath), 'worker.json'), 'junk');
  expect(await prepareIsolateAssets(folder)).toEqual(first);
  await rm(first.workerPath);
  expect(await prepareIsolateAssets(folder)).toEqual(first);
  expect((await readFile(first.workerPath)).length).toBeGreaterThan(100_000);
});

test('sources that are not those the worker was built from make it build again', async () => {
  const source = path.join(folder, 'source.ts');
  await writeFile(source, 'export {};');
  const first = await prepareIsolateAssets(folder);
  const stampPath = path.join(path.dirname(first.workerPath), 'worker.json');
  const stamp = JSON.parse(await readFile(stampPath, 'utf8'));
  await writeFile(stampPath, JSON.stringify({ ...stamp, inputs: [...stamp.inputs, source] }));
  await prepareIsolateAssets(folder);
  expect(JSON.parse(await readFile(stampPath, 'utf8'))).toEqual(stamp);
});

test('several processes that start at once all get a worker that runs', async () => {
  const all = await Promise.all([1, 2, 3].map(() => prepareIsolateAssets(folder)));
  expect(new Set(all.map(({ workerHash }) => workerHash)).size).toBe(1);
  const host = new WorkerHost(isolateWorkerProgram(['--no-node-snapshot', all[0]?.workerPath ?? '']));
  await host.opened;
  await host.close();
});

test('the prelude names no file of this machine and is plain ASCII', async () => {
  const { core, url, hashes } = await buildIsolatePrelude();
  for (const { text } of [await buildPrelude(), core, url, hashes]) {
    expect(text).not.toContain(path.resolve(import.meta.dirname, '..', '..'));
    expect([...text].every((character) => character.charCodeAt(0) < 128)).toBe(true);
  }
  expect(core.text.length).toBeLessThan(url.text.length / 4);
});
