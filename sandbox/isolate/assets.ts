/**
 * Builds what a worker process is started from: `worker.mjs`, one file with everything in it but isolated-vm, the
 * guest's prelude included as text. Kept under the hash of its sources' names, sizes and times, so that a start
 * costs a few `stat`s when nothing changed.
 *
 * A file under its final name is whole: it is written beside it and renamed.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readlink, rename, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { type BuiltText, buildIsolatePrelude, buildProgram } from '../bundling/build-program.ts';
import { readReadyBuilt } from '../bundling/ready-built.ts';
import { isolatedVmManifest } from './isolated-vm-version.ts';

/** Changes when this file builds differently from the same sources. */
const RECIPE = 'flowops-worker-5';
const WORKER_FILE = 'worker.mjs';

export interface IsolateAssets {
  /** Absolute. Beside it lies `node_modules/isolated-vm`, so that it can be started where it is. */
  readonly workerPath: string;
  /** SHA-256 of the worker's bytes, hex. */
  readonly workerHash: string;
  readonly isolatedVmDir: string;
}

const stampSchema = z.object({ inputs: z.array(z.string()), key: z.string(), hash: z.string() });

/** @param cacheDir a folder that only we can write to; made when it is not there. */
export async function prepareIsolateAssets(cacheDir: string): Promise<IsolateAssets> {
  const isolatedVmDir = path.dirname(isolatedVmManifest());
  const folder = path.join(path.resolve(cacheDir), 'isolate-worker');
  const workerPath = path.join(folder, WORKER_FILE);
  const stampPath = path.join(folder, 'worker.json');
  const known = await readStamp(stampPath);
  if (known !== undefined && existsSync(workerPath) && (await isCurrent(known))) {
    return { workerPath, workerHash: known.hash, isolatedVmDir };
  }
  await mkdir(path.join(folder, 'node_modules'), { recursive: true, mode: 0o755 });
  await linkIsolatedVm(path.join(folder, 'node_modules', 'isolated-vm'), isolatedVmDir);
  const { text, inputs } = await buildWorker();
  const hash = workerHash({ text });
  await replaceFile(workerPath, text);
  await replaceFile(stampPath, JSON.stringify({ inputs, key: await keyOf(inputs), hash }));
  return { workerPath, workerHash: hash, isolatedVmDir };
}

export async function buildWorker(): Promise<BuiltText> {
  const ready = await readReadyBuilt(WORKER_FILE);
  if (ready !== undefined) return { text: ready, inputs: [] };
  const { core, url, hashes } = await buildIsolatePrelude();
  return buildProgram({
    entry: path.join(import.meta.dirname, 'worker', 'main.ts'),
    format: 'esm',
    external: ['isolated-vm'],
    texts: {
      'flowops:prelude': { constant: 'PRELUDE', text: core },
      'flowops:prelude-url': { constant: 'PRELUDE_URL', text: url },
      'flowops:prelude-hashes': { constant: 'PRELUDE_HASHES', text: hashes },
    },
  });
}

/** SHA-256, hex: the value of the label `flowops.worker` of an image. */
export function workerHash({ text }: Pick<BuiltText, 'text'>): string {
  return createHash('sha256').update(text).digest('hex');
}

/** npm gives every file of a package the same time: what lies ready is compared by what is in it. */
async function isCurrent({ inputs, key, hash }: z.output<typeof stampSchema>): Promise<boolean> {
  const ready = await readReadyBuilt(WORKER_FILE);
  return ready === undefined ? (await keyOf(inputs)) === key : workerHash({ text: ready }) === hash;
}

/** Undefined where an input is gone. */
async function keyOf(inputs: readonly string[]): Promise<string | undefined> {
  const hash = createHash('sha256').update(`${RECIPE}\n${process.version}\n`);
  try {
    const stats = await Promise.all(inputs.map((input) => stat(input)));
    stats.forEach(({ size, mtimeMs }, i) => {
      hash.update(`${inputs[i]}\n${size}\n${mtimeMs}\n`);
    });
    return hash.digest('hex');
  } catch {
    return undefined; // a source was moved or removed: build again
  }
}

async function readStamp(file: string): Promise<z.output<typeof stampSchema> | undefined> {
  try {
    return stampSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return undefined; // the first start, or another version's file
  }
}

async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = temporaryName(file);
  await writeFile(temporary, text, { mode: 0o644 });
  await rename(temporary, file);
}

/** Several processes may start at once: the link appears whole, and the last one wins with the same target. */
async function linkIsolatedVm(link: string, target: string): Promise<void> {
  if ((await readlink(link).catch(() => undefined)) === target) return;
  const temporary = temporaryName(link);
  // A junction needs no privilege on Windows; elsewhere the word is ignored.
  await symlink(target, temporary, 'junction');
  await rename(temporary, link);
}

function temporaryName(file: string): string {
  return `${file}.${randomUUID()}.tmp`;
}
