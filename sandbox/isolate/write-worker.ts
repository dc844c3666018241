/**
 * Used by Dockerfile.sandbox: `node sandbox/isolate/write-worker.ts FOLDER [HASH]` writes what is in the image of worker
 * containers beside node: the worker's bundle and isolated-vm. With a HASH that is not the bundle's own it fails: the
 * image's label `flowops.worker` would name another worker than the image holds.
 */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buildWorker, workerHash } from './assets.ts';
import { isolatedVmFiles } from './isolated-vm-files.ts';

const [folder, expected = ''] = process.argv.slice(2);
if (folder === undefined) throw new Error('give the folder to write into');
const bundle = await buildWorker();
const hash = workerHash(bundle);
if (expected !== '' && expected !== hash) {
  throw new Error(`the worker built here is ${hash}, the label would say ${expected}: are the sources the same?`);
}
for (const { source, name } of isolatedVmFiles().files) {
  const target = path.join(folder, 'node_modules', name);
  await mkdir(path.dirname(target), { recursive: true });
  await copyFile(source, target);
}
await writeFile(path.join(folder, 'worker.mjs'), bundle.text);
process.stdout.write(`worker ${hash}\n`);
