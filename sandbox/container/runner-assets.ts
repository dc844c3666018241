/**
 * Builds what runs in a step container below the init: the start file, the program with
 * everything in it, and the guest's prelude. The image's build writes them (write-runner.ts); the hash of their
 * texts is the image's label `flowops.runner`, by which a host tells an image that was made from other sources than its
 * own. V8's code caches lie beside them, made of these texts by this Node, which has to be the one that runs them.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { buildPrelude, buildProgram } from '../bundling/build-program.ts';
import { readReadyBuilt } from '../bundling/ready-built.ts';

/** As runner/files.ts names them. */
const FILES = ['runner.cjs', 'program.js', 'prelude.js'];
const FOLDER = path.join(import.meta.dirname, 'runner');

export interface RunnerTexts {
  /** By the file's name, all for one folder. */
  readonly files: Readonly<Record<string, string>>;
}

export async function buildRunner(): Promise<RunnerTexts> {
  const ready = await Promise.all(FILES.map(async (name) => [name, await readReadyBuilt(name)] as const));
  const files = Object.fromEntries(ready.flatMap(([name, text]) => (text === undefined ? [] : [[name, text]])));
  return Object.keys(files).length > 0 ? { files } : buildFiles();
}

async function buildFiles(): Promise<RunnerTexts> {
  const [prelude, thread, start] = await Promise.all([
    buildPrelude(),
    buildProgram({ entry: path.join(FOLDER, 'thread', 'main.ts'), format: 'iife' }),
    buildProgram({ entry: path.join(FOLDER, 'start.ts'), format: 'iife' }),
  ]);
  const program = await buildProgram({
    entry: path.join(FOLDER, 'main.ts'),
    format: 'iife',
    texts: { 'flowops:guest-thread': { constant: 'GUEST_THREAD', text: thread } },
  });
  const wrapped = `(function (require) {\n${program.text}\n})`;
  return { files: { 'runner.cjs': start.text, 'program.js': wrapped, 'prelude.js': prelude.text } };
}

/** SHA-256, hex: the value of the label `flowops.runner`. */
export function runnerHash({ files }: RunnerTexts): string {
  const hash = createHash('sha256');
  for (const [name, text] of Object.entries(files)) hash.update(`${name} ${text.length}\n${text}`);
  return hash.digest('hex');
}

export async function writeRunner(folder: string, { files }: RunnerTexts): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
  await promisify(execFile)(process.execPath, [path.join(FOLDER, 'write-caches.ts'), folder]);
}
