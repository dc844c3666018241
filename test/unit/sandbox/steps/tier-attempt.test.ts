/** The way of an attempt that both tiers share, over a pool and a place driven by hand. */
import { create } from '@bufbuild/protobuf';
import { ResultSchema, Status } from '@flowops/proto/sandbox_pb.js';
import { describe, expect, it, vi } from 'vitest';
import type { KernelFigures, StepEnd, StepEvents } from '../../../../sandbox/steps/step-end.ts';
import { type PlaceFigures, TierAttempt } from '../../../../sandbox/steps/tier-attempt.ts';
import type { TierEvents, TierRequest } from '../../../../sandbox/tier.ts';

const BYTES = Buffer.from('//! flowops-plugin {}\n');
const REQUEST: TierRequest = {
  purpose: 'run',
  flowId: 'f',
  runId: 'r',
  stepId: 's',
  attempt: 1,
  pluginId: 'p',
  pluginVersion: '1.0.0',
  idempotencyKey: 'k',
  inputsJson: Buffer.from('{}'),
  bundle: {
    digest: `sha256:${'b'.repeat(64)}`,
    bytes: BYTES,
    manifest: {
      name: 'acme.p',
      version: '1.0.0',
      description: '',
      permissions: { net: [], secrets: [] },
      inputs: {},
      outputs: {},
    },
  },
  limits: { memoryMb: 64, cpuMs: 1000, wallMs: 2000, outputBytes: 100, logBytes: 100, hostCalls: 2 },
  allowWasm: false,
  domain: 'd',
  concurrent: 1,
  jail: 'required',
  freshness: 'isolate',
  container: { runtime: 'runc', pids: 64, cpus: 1, tmpfsMb: 16 },
  rule: 'rule 1',
  policyHash: 'h',
};
const STARVED: StepEnd = { kind: 'starved', detail: 'no core' };
const INNOCENT: StepEnd = { kind: 'innocent', detail: 'lost' };
const RESULT = create(ResultSchema, { status: Status.COMPLETED, outputsJson: Buffer.from('{}'), droppedLogLines: 2 });

class Attempt extends TierAttempt {
  readonly asked: boolean[] = [];
  readonly handle = { cancel: vi.fn(), pause: vi.fn(), resume: vi.fn() };
  readonly ticket = { withdraw: vi.fn(() => true), done: vi.fn() };
  step: StepEvents | undefined;

  override submit(isAlone: boolean): void {
    this.asked.push(isAlone);
  }

  queue(): void {
    this.enqueue(() => this.ticket);
  }

  put(): void {
    this.place((events) => {
      this.step = events;
      return this.handle;
    });
  }

  protected override onLost({ detail }: { detail: string }): void {
    this.finishFailed('SANDBOX_UNAVAILABLE', detail);
  }

  protected override placeFigures(used: KernelFigures | undefined): PlaceFigures {
    return {
      tier: 'isolate',
      jail: 'namespaces',
      runtime: 'r',
      freshness: 'isolate',
      imageDigest: null,
      cpuMs: used?.cpuMs ?? null,
      peakMemoryBytes: null,
      sources: { cpuMs: 'host', peakMemoryBytes: 'host' },
    };
  }
}

function makeAttempt() {
  const events = { onStarted: vi.fn(), onRestarted: vi.fn(), onLog: vi.fn(), onProgress: vi.fn() };
  const onHostCall: TierEvents['onHostCall'] = async () => ({ ok: true });
  const attempt = new Attempt(REQUEST, { ...events, onHostCall });
  attempt.submit(false);
  const end = (how: StepEnd, cpuMs?: number) => attempt.step?.onEnded(how, { cpuMs, peakMemoryBytes: undefined });
  return { attempt, events, end };
}

function placed() {
  const made = makeAttempt();
  made.attempt.queue();
  made.attempt.put();
  return made;
}

describe('an attempt', () => {
  it('ends with the result of its sandbox and the figures of its place', async () => {
    const { attempt, end } = placed();
    end({ kind: 'result', result: RESULT }, 1.23456);
    expect(await attempt.ended).toMatchObject({
      outcome: { status: 'COMPLETED' },
      figures: { cpuMs: 1.235, droppedLogLines: 2 },
    });
    expect(attempt.ticket.done).toHaveBeenCalledTimes(1);
  });

  it('tells each of its starts: its wall time begins anew', () => {
    const { attempt, events, end } = placed();
    attempt.step?.onStarted();
    end(STARVED);
    attempt.queue();
    attempt.put();
    attempt.step?.onStarted();
    expect(events.onStarted).toHaveBeenCalledTimes(2);
    expect(events.onRestarted).toHaveBeenCalledTimes(1);
  });

  it('that got no core is run again once, and then ends with its wall limit, which is not held against its plugin', async () => {
    const { attempt, end } = placed();
    end(STARVED);
    expect(attempt.asked).toEqual([false, false]);
    attempt.queue();
    attempt.put();
    end(STARVED, 5);
    expect(await attempt.ended).toMatchObject({
      outcome: { status: 'FAILED', code: 'LIMIT_WALL' },
      isStarved: true,
      figures: { cpuMs: 5 },
    });
  });

  it('whose sandbox was lost is handled by its tier, with the figures of its last time', async () => {
    const { attempt, end } = placed();
    end(INNOCENT, 7);
    expect(await attempt.ended).toMatchObject({
      outcome: { status: 'FAILED', code: 'SANDBOX_UNAVAILABLE' },
      figures: { cpuMs: 7 },
    });
  });
});

describe('a cancel', () => {
  it('before the pool was asked ends the attempt', async () => {
    const { attempt } = makeAttempt();
    attempt.cancel({ graceMs: 10, reason: 'stop' });
    expect((await attempt.ended).outcome).toEqual({ status: 'CANCELLED', message: 'stop' });
  });

  it('while it waits takes it out of the queue', async () => {
    const { attempt } = makeAttempt();
    attempt.queue();
    attempt.cancel({ graceMs: 10, reason: 'stop' });
    expect(attempt.ticket.withdraw).toHaveBeenCalledTimes(1);
    expect((await attempt.ended).outcome.status).toBe('CANCELLED');
  });

  it('in its place is passed on, and decides over a crash but not over a result', async () => {
    const crashed = placed();
    const completed = placed();
    for (const { attempt } of [crashed, completed]) attempt.cancel({ graceMs: 10, reason: 'stop' });
    expect(crashed.attempt.handle.cancel).toHaveBeenCalledWith({ graceMs: 10, reason: 'stop' });
    crashed.end({ kind: 'charged', code: 'SANDBOX_CRASHED', detail: 'died' });
    completed.end({ kind: 'result', result: RESULT });
    expect((await crashed.attempt.ended).outcome.status).toBe('CANCELLED');
    expect((await completed.attempt.ended).outcome.status).toBe('COMPLETED');
  });

  it.each([STARVED, INNOCENT, { kind: 'suspect', detail: 'one of them' } as const])(
    'forbids a second try ($kind)',
    async (how) => {
      const { attempt, end } = placed();
      attempt.cancel({ graceMs: 10, reason: 'stop' });
      end(how);
      expect((await attempt.ended).outcome.status).toBe('CANCELLED');
      expect(attempt.asked).toEqual([false]);
    },
  );
});
