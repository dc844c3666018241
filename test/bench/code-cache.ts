/**
 * What a code cache saves: a large bundle's first step in a jailed worker, from being given to its first instruction,
 * with the cache that another worker of its domain made, without one, and while the cache is made.
 */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { WorkerJob } from '../../sandbox/isolate/worker-job.ts';
import type { WorkerSource } from '../../sandbox/isolate/worker-source.ts';
import { median, type Row, round } from './figures.ts';
import { jobOf, runStep, spawnWorker } from './worker-step.ts';

const CLONE = fileURLToPath(new URL('../..', import.meta.url));
/** About: a plugin with a handful of npm packages in it. */
const BUNDLE_BYTES = 470_000;

export async function codeCacheRow(source: WorkerSource, rounds: number): Promise<Row> {
  const library = await libraryText();
  const small = jobOf({ name: 'bench.small' });
  const times: Record<'making' | 'with' | 'without', number[]> = { making: [], with: [], without: [] };
  for (let n = 0; n < rounds; n++) {
    const large = jobOf({ name: `bench.large${n}`, library });
    times.making.push(await lastStarted(source, [large]));
    times.with.push(await lastStarted(source, [small, large]));
    times.without.push(await lastStarted(source, [small, { ...large, domain: 'other' }]));
  }
  const [making, cached, plain] = [median(times.making), median(times.with), median(times.without)];
  return {
    what: `first step of a ${Math.round(library.length / 1000)} KB bundle in a worker, code cache / none / making it`,
    value: `${round(cached)} / ${round(plain)} / ${round(making)} ms`,
    note: 'to its first instruction; inherited socket, nothing durable',
    figures: { cachedMs: round(cached), plainMs: round(plain), makingMs: round(making) },
  };
}

/** Runs the jobs one after the other in a fresh worker; how long the last one took to its first instruction, ms. */
async function lastStarted(source: WorkerSource, jobs: readonly WorkerJob[]): Promise<number> {
  const worker = await spawnWorker(source);
  let ms = 0;
  for (const job of jobs) ms = (await runStep(worker, job)).startedMs;
  await worker.close();
  return ms;
}

/** Code of a library as a bundler writes it, up to the size. */
async function libraryText(): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: "import * as yaml from 'yaml'; globalThis.library = yaml;", resolveDir: CLONE },
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error('esbuild gave no file');
  // Called later or never, like most of a library.
  const copies = Math.round(BUNDLE_BYTES / file.text.length);
  const text = Array.from({ length: copies }, (_, n) => `function part${n}() {\n${file.text}\n}\n`).join('');
  return `${text}part0();\n`;
}
