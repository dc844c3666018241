import { create } from '@bufbuild/protobuf';
import { describe, expect, it, vi } from 'vitest';
import { HostCallSchema, LogSchema, ResultSchema, Status } from '../../../../proto/sandbox_pb.js';
import { IsolateTier } from '../../../../sandbox/isolate/tier.ts';
import type { IsolateWorker } from '../../../../sandbox/isolate/worker-job.ts';
import type { PoolJob } from '../../../../sandbox/isolate/worker-pool.ts';
import { DEFAULT_CONTAINER } from '../../../../sandbox/policy/default-limits.ts';
import type { KernelFigures, StepEnd, StepEvents } from '../../../../sandbox/steps/step-end.ts';
import type { TierRequest } from '../../../../sandbox/tier.ts';

const REQUEST: TierRequest = {
  purpose: 'run',
  flowId: 'f',
  runId: 'r',
  stepId: 'mail',
  attempt: 1,
  pluginId: 'p',
  pluginVersion: '',
  idempotencyKey: '',
  inputsJson: Buffer.from('{}'),
  bundle: {
    digest: 'd',
    bytes: new Uint8Array(0),
    manifest: {
      name: 'acme.mail',
      version: '1.0.0',
      description: '',
      permissions: { net: [], secrets: [] },
      inputs: {},
      outputs: {},
    },
  },
  limits: { memoryMb: 64, cpuMs: 1000, wallMs: 2000, outputBytes: 100, logBytes: 100, hostCalls: 2 },
  allowWasm: false,
  domain: 'a',
  concurrent: 4,
  jail: 'required',
  freshness: 'isolate',
  container: DEFAULT_CONTAINER,
  rule: 'rule 3',
  policyHash: 'sha256:p',
};

/** A pool that starts each job when told to, in a worker of which only the events matter. */
function makeTier(options: { jailProblem?: string } = {}) {
  const submitted: PoolJob[] = [];
  const withdraw = vi.fn(() => true);
  const done = vi.fn();
  const handle = { cancel: vi.fn(), pause: vi.fn(), resume: vi.fn() };
  const inWorker: StepEvents[] = [];
  const worker: IsolateWorker = {
    id: 1,
    confinement: { kind: 'namespaces' },
    takesSteps: true,
    isSpent: false,
    jobs: 0,
    run: (_, events) => {
      inWorker.push(events);
      return handle;
    },
    close: async () => {},
  };
  const tier = new IsolateTier({
    pool: {
      submit: (job) => {
        submitted.push(job);
        return { withdraw, done };
      },
    },
    runtime: 'isolated-vm 0',
    maxWallMs: () => Number.POSITIVE_INFINITY,
    jailProblem: () => options.jailProblem,
    close: async () => {},
  });
  const onHostCall = vi.fn(async () => ({ ok: false, code: 'POLICY_DENIED' as const }));
  const events = { onStarted: vi.fn(), onLog: vi.fn(), onProgress: vi.fn(), onHostCall };
  const run = (changes: Partial<TierRequest> = {}) => tier.run({ ...REQUEST, ...changes }, events);
  const start = () => submitted.at(-1)?.start(worker);
  const end = (how: StepEnd, used?: KernelFigures) => inWorker.at(-1)?.onEnded(how, used);
  return { run, start, end, submitted, withdraw, done, handle, events, last: () => inWorker.at(-1) };
}

const completed: StepEnd = {
  kind: 'result',
  result: create(ResultSchema, { status: Status.COMPLETED, outputsJson: Buffer.from('{"a":1}'), droppedLogLines: 3 }),
};
const suspect: StepEnd = { kind: 'suspect', detail: 'its sandbox died' };
const innocent: StepEnd = { kind: 'innocent', detail: 'of another step' };
const starved: StepEnd = { kind: 'starved', detail: 'no core' };

describe('a step in the isolate tier', () => {
  it('ends with the outputs and figures of its worker', async () => {
    const { run, start, end, last, events, done } = makeTier();
    const { ended } = run();
    start();
    last()?.onStarted();
    end(completed);
    expect(await ended).toMatchObject({
      outcome: { status: 'COMPLETED', outputsJson: Buffer.from('{"a":1}') },
      figures: { tier: 'isolate', jail: 'namespaces', runtime: 'isolated-vm 0', cpuMs: null, droppedLogLines: 3 },
    });
    expect([events.onStarted.mock.calls.length, done.mock.calls.length]).toEqual([1, 1]);
  });

  it('67: has the figures of the kernel before those of its worker, each with its source', async () => {
    const result = create(ResultSchema, {
      status: Status.COMPLETED,
      outputsJson: Buffer.from('{}'),
      receiptJson: Buffer.from('{"cpuMs":0,"heapBytes":5,"runMs":0}'),
    });
    const figuresOf = async (used?: KernelFigures) => {
      const { run, start, end } = makeTier();
      const { ended } = run({ freshness: 'context' });
      start();
      end({ kind: 'result', result }, used);
      return (await ended).figures;
    };
    expect(await figuresOf({ cpuMs: 812.5, peakMemoryBytes: undefined })).toMatchObject({
      freshness: 'context',
      cpuMs: 812.5,
      peakMemoryBytes: 5,
      sources: { cpuMs: 'host', peakMemoryBytes: 'worker' },
    });
    expect(await figuresOf()).toMatchObject({ cpuMs: 0, sources: { cpuMs: 'worker', peakMemoryBytes: 'worker' } });
  });

  it('that is a suspect runs again alone, and each start is told', async () => {
    const { run, start, end, last, submitted, events } = makeTier();
    const { ended } = run();
    start();
    last()?.onStarted();
    end(suspect);
    expect(submitted.map(({ isAlone }) => isAlone)).toEqual([false, true]);
    start();
    last()?.onStarted();
    end({ kind: 'charged', code: 'SANDBOX_CRASHED', detail: 'its sandbox died' });
    expect((await ended).outcome).toMatchObject({ status: 'FAILED', code: 'SANDBOX_CRASHED' });
    expect(events.onStarted).toHaveBeenCalledTimes(2);
  });

  it('that is innocent runs again a few times and then fails as a fault of ours', async () => {
    const { run, start, end, submitted } = makeTier();
    const { ended } = run();
    for (let i = 0; i < 4; i++) {
      start();
      end(innocent);
    }
    expect(submitted).toHaveLength(4);
    expect((await ended).outcome).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
  });

  it('that got no core runs again once and is then charged', async () => {
    const { run, start, end, submitted } = makeTier();
    const { ended } = run();
    for (let i = 0; i < 2; i++) {
      start();
      end(starved);
    }
    expect(submitted).toHaveLength(2);
    expect(await ended).toMatchObject({
      outcome: { code: 'LIMIT_WALL', message: expect.stringMatching(/limits\.wallMs \(2000\) in rule 3/) },
      isStarved: true,
    });
  });

  it.each([suspect, innocent, starved, { kind: 'killed-on-cancel' } as const])(
    'that was cancelled is not run again, however its worker ended: $kind',
    async (how) => {
      const { run, start, end, submitted, handle } = makeTier();
      const made = run();
      start();
      made.cancel({ graceMs: 5, reason: 'stop' });
      expect(handle.cancel).toHaveBeenCalledExactlyOnceWith({ graceMs: 5, reason: 'stop' });
      end(how);
      expect((await made.ended).outcome).toEqual({ status: 'CANCELLED', message: 'stop' });
      expect(submitted).toHaveLength(1);
    },
  );

  it('that is cancelled while it waits never starts', async () => {
    const { run, withdraw } = makeTier();
    const made = run();
    made.cancel({ graceMs: 5, reason: 'stop' });
    expect(withdraw).toHaveBeenCalledOnce();
    expect((await made.ended).outcome).toEqual({ status: 'CANCELLED', message: 'stop' });
  });

  it('whose rule requires a jail fails where there is none, and says what to change', async () => {
    const { run, submitted } = makeTier({ jailProblem: 'unshare failed' });
    const { outcome } = await run().ended;
    expect(outcome).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(/rule 3 .*unshare failed.*jail: none/),
    });
    run({ jail: 'none' });
    expect(submitted).toHaveLength(1);
  });

  it('gets the answer of the host to its calls', async () => {
    const { run, start, last } = makeTier();
    run();
    start();
    const answer = await last()?.onHostCall(create(HostCallSchema, { method: 'fetch' }));
    expect(answer?.code).toBe('POLICY_DENIED');
  });

  it('logs within the limit of its rule', () => {
    const { run, start, last, events } = makeTier();
    run();
    start();
    for (let i = 0; i < 5; i++) last()?.onLog(create(LogSchema, { level: 'info', message: 'x'.repeat(30) }));
    expect(events.onLog).toHaveBeenCalledTimes(2);
  });
});
