/** Code caches in real workers: made before the first step, used by the next worker, and never different in effect. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, manifestSchema } from '@flowops/proto/manifest.ts';
import type { Result } from '@flowops/proto/sandbox_pb.js';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { moduleOf } from '../../sandbox/doctor/bundle-text.ts';
import { prepareIsolateAssets } from '../../sandbox/isolate/assets.ts';
import { CodeCaches } from '../../sandbox/isolate/code-caches.ts';
import { bareCommand } from '../../sandbox/isolate/jail.ts';
import { ProcessBody } from '../../sandbox/isolate/process-body.ts';
import type { WorkerJob } from '../../sandbox/isolate/worker-job.ts';
import { WorkerProcess } from '../../sandbox/isolate/worker-process.ts';
import { LIMITS } from '../support/worker-host.ts';

const V8 = `v8 ${process.versions.v8}`;
let folder: string;
let entry: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'flowops-code-cache-'));
  entry = (await prepareIsolateAssets(folder)).workerPath;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Large, and with its export last, as esbuild writes it. */
function jobOf(body: string, { prologue = '', domain = 'd' } = {}): WorkerJob {
  const manifest = manifestSchema.parse({ name: 'test.large', version: '1.0.0', outputs: { o: { type: 'json' } } });
  const filler = Array.from({ length: 3_000 }, (_, n) => `function part${n}(a) { return a + ${n} * 2; }`).join('\n');
  const code = moduleOf(body, manifest, `${filler}\n${prologue}`).replace('export default {', 'var task = {');
  const bytes = Buffer.from(`${formatManifestLine(manifest)}${code}export {\n  task as default\n};\n`);
  const about = { purpose: 'run', flowId: 'f', runId: 'r', stepId: 's', attempt: 1, pluginId: 'test.large' } as const;
  return {
    ...about,
    pluginVersion: '1.0.0',
    idempotencyKey: 'k',
    inputsJson: Buffer.from('{}'),
    bundle: { digest: digestOf(bytes), bytes, manifest },
    limits: LIMITS,
    allowWasm: false,
    domain,
    policyHash: 'sha256:p',
    freshness: 'isolate',
  };
}

/** Runs the jobs one after the other in one fresh worker. */
async function inFreshWorker(codeCaches: CodeCaches, ...jobs: WorkerJob[]): Promise<Result[]> {
  const ready = Promise.withResolvers<void>();
  const worker = new WorkerProcess({
    id: 1,
    body: new ProcessBody({
      command: bareCommand({ entry }),
      confinement: { hostUid: undefined, hasFilter: false },
      cgroup: undefined,
    }),
    instance: 'test',
    codeCaches,
    log: pino({ level: 'silent' }),
    events: { onAvailable: ready.resolve, onRelease: () => {}, onEnded: () => ready.reject(new Error('it ended')) },
  });
  await ready.promise;
  const results: Result[] = [];
  for (const job of jobs) {
    const ended = Promise.withResolvers<Result>();
    worker.run(job, {
      onStarted: () => {},
      onLog: () => true,
      onProgress: () => {},
      onHostCall: async () => ({ ok: false }),
      onEnded: (end) => (end.kind === 'result' ? ended.resolve(end.result) : ended.reject(new Error(end.kind))),
    });
    results.push(await ended.promise);
  }
  await worker.close();
  return results;
}

function outputs(result: Result | undefined): unknown {
  return JSON.parse(Buffer.from(result?.outputsJson ?? []).toString());
}

const keyOf = (job: WorkerJob) => ({ domain: job.domain, digest: job.bundle.digest, v8: V8 });

test('the first worker makes the cache before its first step, the next worker runs with it', async () => {
  const caches = new CodeCaches();
  const job = jobOf('return { o: part7(1) };');
  expect((await inFreshWorker(caches, job)).map(outputs)).toEqual([{ o: 15 }]);
  const made = caches.get(keyOf(job));
  expect(made?.length).toBeGreaterThan(1_000);
  expect((await inFreshWorker(caches, job, job)).map(outputs)).toEqual([{ o: 15 }, { o: 15 }]);
  expect(caches.get(keyOf(job))).toBe(made);
});

test('a worker that has run a step is asked for no cache', async () => {
  const caches = new CodeCaches();
  const [first, second] = [jobOf('return { o: 1 };'), jobOf('return { o: 2 };')];
  expect((await inFreshWorker(caches, first, second)).map(outputs)).toEqual([{ o: 1 }, { o: 2 }]);
  expect(caches.get(keyOf(first))?.length).toBeGreaterThan(0);
  expect(caches.get(keyOf(second))).toBeUndefined();
});

test('a cache that V8 rejects costs time and nothing else', async () => {
  const caches = new CodeCaches();
  const job = jobOf('return { o: part7(1) };');
  caches.put(keyOf(job), Buffer.alloc(50_000, 7));
  expect((await inFreshWorker(caches, job, job)).map(outputs)).toEqual([{ o: 15 }, { o: 15 }]);
});

test('what only a module can say runs as a module, and no cache is made of it', async () => {
  const caches = new CodeCaches();
  const job = jobOf('return { o: waited };', { prologue: 'const waited = await Promise.resolve(3);' });
  expect((await inFreshWorker(caches, job)).map(outputs)).toEqual([{ o: 3 }]);
  expect(caches.get(keyOf(job))?.length).toBe(0);
});

test('a large bundle is strict, has no this, and tells its errors at their own lines', async () => {
  const caches = new CodeCaches();
  const rules = jobOf('return { o: isStrict };', {
    prologue: `let isStrict = this === undefined; try { undeclared = 1; isStrict = false; } catch {}`,
  });
  const thrower = jobOf('throw new Error("here");');
  const lines = Buffer.from(thrower.bundle.bytes).toString().split('\n');
  const line = lines.findIndex((text) => text.includes('throw new Error("here")')) + 1;
  const [strict, thrown] = await inFreshWorker(caches, rules, thrower);
  expect(outputs(strict)).toEqual({ o: true });
  expect(thrown).toMatchObject({ code: 'PLUGIN_ERROR', message: expect.stringContaining('here') as string });
  expect(thrown?.stack).toContain(`test.large.js:${line}:`);
});

test('a large bundle whose top level throws, or is no JavaScript, fails as a small one does', async () => {
  const caches = new CodeCaches();
  const [threw, broken] = await inFreshWorker(
    caches,
    jobOf('return {};', { prologue: 'throw new Error("at the top");' }),
    jobOf('return {};', { prologue: 'const = 1;' }),
  );
  expect(threw).toMatchObject({ code: 'PLUGIN_ERROR', message: expect.stringContaining('at the top') as string });
  expect(broken).toMatchObject({
    code: 'PLUGIN_INVALID',
    message: expect.stringContaining('Unexpected token') as string,
  });
});
