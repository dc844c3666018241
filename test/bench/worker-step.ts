/** Steps in a real worker, without engine and host: from being handed to the worker to their end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, manifestSchema } from '@flowops/proto/manifest.ts';
import { pino } from 'pino';
import { moduleOf } from '../../sandbox/doctor/bundle-text.ts';
import { prepareIsolateAssets } from '../../sandbox/isolate/assets.ts';
import type { IsolateWorker, WorkerJob } from '../../sandbox/isolate/worker-job.ts';
import { openWorkerSource, type WorkerSource } from '../../sandbox/isolate/worker-source.ts';
import { LIMITS } from '../support/worker-host.ts';

export interface StepTimes {
  /** From being handed over to the plugin's first instruction, and to its end. */
  readonly startedMs: number;
  readonly endedMs: number;
}

/** Workers as a host makes them, jailed where this machine can. */
export async function withWorkers<T>(work: (source: WorkerSource) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'flowops-bench-'));
  const { workerPath } = await prepareIsolateAssets(folder);
  const source = await openWorkerSource({
    files: { entry: workerPath },
    instance: 'bench',
    log: pino({ level: 'silent' }),
    onJailRefused: () => {},
  });
  try {
    return await work(source);
  } finally {
    await source.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function spawnWorker(source: WorkerSource): Promise<IsolateWorker> {
  const ready = Promise.withResolvers<void>();
  const worker = source.spawn({
    onAvailable: ready.resolve,
    onRelease: () => {},
    onEnded: ({ startProblem }) => ready.reject(new Error(startProblem ?? 'the worker ended')),
  });
  await ready.promise;
  return worker;
}

/** Rejects unless the step completes. */
export function runStep(worker: IsolateWorker, job: WorkerJob): Promise<StepTimes> {
  const begunAt = performance.now();
  let startedMs = 0;
  return new Promise((resolve, reject) => {
    worker.run(job, {
      onStarted: () => {
        startedMs = performance.now() - begunAt;
      },
      onLog: () => true,
      onProgress: () => {},
      onHostCall: async () => ({ ok: false }),
      onEnded: (end) => {
        if (end.kind === 'result' && end.result.code === '') {
          resolve({ startedMs, endedMs: performance.now() - begunAt });
        } else
          reject(new Error(JSON.stringify(end, (_, value) => (typeof value === 'bigint' ? Number(value) : value))));
      },
    });
  });
}

export interface JobOptions {
  readonly name: string;
  readonly domain?: string;
  /** Of `run`. */
  readonly body?: string;
  /** Code beside the task. */
  readonly library?: string;
  readonly freshness?: WorkerJob['freshness'];
  readonly limits?: Partial<WorkerJob['limits']>;
}

export function jobOf(options: JobOptions): WorkerJob {
  const { name, domain = 'bench', body = 'return { o: 1 };', library = '', freshness = 'isolate', limits } = options;
  const manifest = manifestSchema.parse({ name, version: '1.0.0', outputs: { o: { type: 'integer' } } });
  // As esbuild writes it: the export last.
  const code = moduleOf(body, manifest, library).replace('export default {', 'var task = {');
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
    limits: { ...LIMITS, ...limits },
    allowWasm: false,
    domain,
    freshness,
    policyHash: 'bench',
  };
}
