/**
 * The isolate cases of the doctor's catalogue against a worker without a host that would help: no jail, no watch, no
 * limit from outside. Each attempt ends with the same code as in the whole tier, and a neighbour's step works after it.
 * Where only the end of the process ends the code, the worker tells the result and is gone.
 */
import { bundleOf as hostileBundle } from '@flowops/sandbox/doctor/bundle.ts';
import type { PluginAttempt, PluginCase } from '@flowops/sandbox/doctor/case.ts';
import { ESCAPE_CASES } from '@flowops/sandbox/doctor/cases/escape.ts';
import { EXHAUSTION_CASES } from '@flowops/sandbox/doctor/cases/exhaustion.ts';
import { limitsOf } from '@flowops/sandbox/doctor/test-policy.ts';
import { problemsOfEnd, type SeenEnd } from '@flowops/sandbox/doctor/verdict.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { INSPECT_LIMITS } from '../../sandbox/attempts/admission.ts';
import { LogCap } from '../../sandbox/attempts/log-cap.ts';
import { bundleOf, type StepResult, startWorker, type WorkerHost } from '../support/worker-host.ts';

/** Loaded machines are slow; a step that does not end at all would take the whole test time. */
const GRACE_MS = 8_000;
const PLACE = { tier: 'isolate', runtime: 'isolated-vm' } as const;
const AROUND = { runtime: 'isolated-vm', origin: '127.0.0.1:1', forbidden: '127.0.0.1:2' } as const;
const neighbour = bundleOf("return { o: 'fine' };", { name: 'test.neighbour', outputs: { o: { type: 'string' } } });

let host: WorkerHost | undefined;
let w: WorkerHost;

async function worker(): Promise<WorkerHost> {
  if (host?.peer.isOpen === true) return host;
  await host?.ended;
  host = await startWorker();
  return host;
}

beforeEach(async () => {
  w = await worker();
});
afterAll(async () => host?.close());

/** Crowds and STOPs are for a host. */
function attemptsOf(hostile: PluginCase): [string, PluginAttempt][] {
  const attempts = typeof hostile.attempts === 'function' ? hostile.attempts(AROUND) : hostile.attempts;
  return attempts
    .filter(({ copies, stopAfterMs, needsHost }) => (copies ?? stopAfterMs ?? needsHost) === undefined)
    .map((attempt) => [`${hostile.id}: ${hostile.title}: ${attempt.what}`, attempt]);
}

const inspected = ({ purpose }: PluginAttempt): boolean => purpose === 'inspect';

/** What is shown of it is what a host lets through. */
function seen(done: StepResult, logBytes: number): SeenEnd {
  const cap = new LogCap(logBytes);
  const ending = done.status === 'FAILED' ? done.code : done.status;
  return { ...done, ending, lines: done.logs.flatMap((log) => cap.admit(log) ?? []) };
}

describe.each([...ESCAPE_CASES, ...EXHAUSTION_CASES].flatMap(attemptsOf))('%s', (_, attempt) => {
  test('ends as it must, and the next step runs', { timeout: 180_000 }, async () => {
    const limits = inspected(attempt) ? INSPECT_LIMITS : limitsOf(attempt, PLACE);
    const { bytes } = hostileBundle('doctor.hostile', attempt);
    for (let time = 0; time < (attempt.times ?? 1); time++) {
      w = await worker();
      const done = await w.run(bytes, {
        limits,
        inspect: inspected(attempt),
        allowWasm: attempt.grants?.wasm === true,
        freshContext: attempt.freshness === 'context',
        ...(attempt.inputs === undefined ? {} : { inputs: attempt.inputs }),
      });
      const end = seen(done, limits.logBytes);
      if (attempt.mayEndWorker !== true || end.ending !== 'WORKER_ENDED') {
        expect(problemsOfEnd(end, attempt.expect)).toEqual([]);
      }
      expect(done.elapsedMs).toBeLessThan(limits.wallMs + GRACE_MS);
      // A worker that could not prove the end of the step is about to go: its answer, or its end, tells which.
      await Promise.race([w.peer.closed, new Promise<void>((resolve) => w.peer.ping(resolve))]);
      expect(await (await worker()).run(neighbour)).toMatchObject({ status: 'COMPLETED', outputs: { o: 'fine' } });
    }
  });
});

test('9: a plugin names no host call, whatever it gives as arguments', async () => {
  const attempt = ESCAPE_CASES.flatMap(attemptsOf).find(([title]) => title.startsWith('9: '))?.[1];
  if (attempt === undefined) throw new Error('case 9 is not in the catalogue');
  const methods: string[] = [];
  w.answerCall = (call, peer) => {
    methods.push(call.method);
    const { token, callId } = call;
    peer.send({ case: 'hostReply', value: { token, callId, ok: false, code: 'POLICY_DENIED', message: 'no' } });
  };
  await w.run(hostileBundle('doctor.hostile', attempt).bytes);
  expect(methods).toContain('secret');
  expect(methods.filter((method) => method !== 'secret' && method !== 'fetch')).toEqual([]);
});

test('21: lines over the cap are counted', async () => {
  const body = "for (let i = 0; i < 50; i++) logger.info('y'.repeat(1000));";
  const done = await w.run(bundleOf(body), { limits: { logBytes: 30_000 } });
  expect(done.status).toBe('COMPLETED');
  expect((done.result?.droppedLogLines ?? 0) + done.logs.length).toBe(50);
});

test('24: a step that ends while its host call is open ends, and the late answer harms nobody', async () => {
  const waiting: (() => void)[] = [];
  w.answerCall = ({ token, callId }, peer) => {
    waiting.push(() =>
      peer.send({ case: 'hostReply', value: { token, callId, ok: true, payloadJson: Buffer.from('1') } }),
    );
  };
  const body = "context.secret('A'); await new Promise((r) => setTimeout(r, 5)); return {};";
  expect(await w.run(bundleOf(body))).toMatchObject({ status: 'COMPLETED' });
  for (const answer of waiting) answer();
  expect(await w.run(neighbour)).toMatchObject({ status: 'COMPLETED' });
});

test('a neighbour in the same worker finishes while loops, floods and host calls go on beside it', async () => {
  const attacks: readonly (readonly [body: string, wallMs: number])[] = [
    ['for (;;);', 1_500],
    ['for (;;) await null;', 1_500],
    // A hundred thousand lines beyond its cap, however long they take.
    ["for (;;) console.log('x');", 30_000],
    ['for (;;) await context.secret("A").catch(() => {});', 1_500],
  ];
  const steps = attacks.map(([body, wallMs]) =>
    w.run(bundleOf(body), { limits: { wallMs, cpuMs: 60_000, hostCalls: 1_000_000_000 } }),
  );
  expect(await w.run(neighbour)).toMatchObject({ status: 'COMPLETED' });
  const codes = (await Promise.all(steps)).map(({ code }) => code);
  expect(codes).toEqual(['LIMIT_WALL', 'LIMIT_WALL', 'LIMIT_LOG', 'LIMIT_WALL']);
});
