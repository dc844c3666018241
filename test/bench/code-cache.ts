/**
 * What a code cache saves: a large bundle's first step in a jailed worker, from being given to its first instruction,
 * with the cache that another worker of its domain made, without one, and while the cache is made.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, manifestSchema } from '@flowops/proto/manifest.ts';
import { build } from 'esbuild';
import { pino } from 'pino';
import { moduleOf } from '../../sandbox/doctor/bundle-text.ts';
import { prepareIsolateAssets } from '../../sandbox/isolate/assets.ts';
import type { IsolateWorker, WorkerJob } from '../../sandbox/isolate/worker-job.ts';
import { openWorkerSource, type WorkerSource } from '../../sandbox/isolate/worker-source.ts';
import { LIMITS } from '../support/worker-host.ts';
import { median, type Row, round } from './figures.ts';

const CLONE = fileURLToPath(new URL('../..', import.meta.url));
/** About: a plugin with a handful of npm packages in it. */
const BUNDLE_BYTES = 470_000;

export async function codeCacheRow(rounds: number): Promise<Row> {
  const folder = mkdtempSync(join(tmpdir(), 'flowops-bench-'));
  const { workerPath } = await prepareIsolateAssets(folder);
  const source = await openWorkerSource({
    files: { entry: workerPath },
    instance: 'bench',
    log: pino({ level: 'silent' }),
    onJailRefused: () => {},
  });
  try {
    const library = await libraryText();
    const small = jobOf('bench.small', '', 'bench');
    const times: Record<'making' | 'with' | 'without', number[]> = { making: [], with: [], without: [] };
    for (let n = 0; n < rounds; n++) {
      const large = jobOf(`bench.large${n}`, library, 'bench');
      times.making.push(await firstSteps(source, [large]));
      times.with.push(await firstSteps(source, [small, large]));
      times.without.push(await firstSteps(source, [small, { ...large, domain: 'other' }]));
    }
    const [making, cached, plain] = [median(times.making), median(times.with), median(times.without)];
    return {
      what: `first step of a ${Math.round(library.length / 1000)} KB bundle in a worker, code cache / none / making it`,
      value: `${round(cached)} / ${round(plain)} / ${round(making)} ms`,
      figures: { cachedMs: round(cached), plainMs: round(plain), makingMs: round(making) },
    };
  } finally {
    await source.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs the jobs one after the other in a fresh worker; how long the last one took to its first instruction, ms. */
async function firstSteps(source: WorkerSource, jobs: readonly WorkerJob[]): Promise<number> {
  const ready = Promise.withResolvers<void>();
  const worker = source.spawn({
    onAvailable: ready.resolve,
    onRelease: () => {},
    onEnded: ({ startProblem }) => ready.reject(new Error(startProblem ?? 'the worker ended')),
  });
  await ready.promise;
  let ms = 0;
  for (const job of jobs) ms = await runJob(worker, job);
  await worker.close();
  return ms;
}

function runJob(worker: IsolateWorker, job: WorkerJob): Promise<number> {
  const begunAt = performance.now();
  let startedAt = begunAt;
  return new Promise((resolve, reject) => {
    worker.run(job, {
      onStarted: () => {
        startedAt = performance.now();
      },
      onLog: () => true,
      onProgress: () => {},
      onHostCall: async () => ({ ok: false }),
      onEnded: (end) => {
        if (end.kind === 'result' && end.result.code === '') resolve(startedAt - begunAt);
        else reject(new Error(JSON.stringify(end, (_, value) => (typeof value === 'bigint' ? Number(value) : value))));
      },
    });
  });
}

function jobOf(name: string, library: string, domain: string): WorkerJob {
  const manifest = manifestSchema.parse({ name, version: '1.0.0', outputs: { o: { type: 'integer' } } });
  // As esbuild writes it: the export last.
  const code = moduleOf('return { o: 1 };', manifest, library).replace('export default {', 'var task = {');
  const text = `${formatManifestLine(manifest)}${code}export {\n  task as default\n};\n`;
  const bytes = Buffer.from(text);
  return {
    purpose: 'run',
    flowId: 'bench',
    runId: 'bench',
    stepId: 'step',
    attempt: 1,
    pluginId: name,
    pluginVersion: '1.0.0',
    idempotencyKey: 'bench',
    inputsJson: Buffer.from('{}'),
    bundle: { digest: digestOf(bytes), bytes, manifest },
    limits: LIMITS,
    allowWasm: false,
    domain,
    freshness: 'isolate',
    policyHash: 'bench',
  };
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
