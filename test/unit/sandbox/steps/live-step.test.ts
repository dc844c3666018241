import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  CPU_GRACE_MS,
  LiveStep,
  SETTLE_MS,
  START_LIMIT_MS,
  WALL_GRACE_MS,
} from '../../../../sandbox/steps/live-step.ts';
import type { AttemptJob } from '../../../../sandbox/tier.ts';

const JOB: AttemptJob = {
  purpose: 'run',
  flowId: 'f',
  runId: 'r',
  stepId: 's',
  attempt: 1,
  pluginId: 'p',
  pluginVersion: '',
  idempotencyKey: '',
  inputsJson: new Uint8Array(0),
  bundle: {
    digest: 'd',
    bytes: new Uint8Array(0),
    manifest: {
      name: 'p',
      version: '1.0.0',
      description: '',
      permissions: { net: [], secrets: [] },
      inputs: {},
      outputs: {},
    },
  },
  limits: { memoryMb: 64, cpuMs: 1000, wallMs: 2000, outputBytes: 1, logBytes: 1, hostCalls: 1 },
  allowWasm: false,
};

function makeAttempt(othersCpuMs = 0, measure?: () => { cpuMs: number; peakMemoryBytes: number }) {
  const onOverdue = vi.fn();
  const onEnded = vi.fn();
  const events = {
    onStarted: vi.fn(),
    onLog: () => true,
    onProgress: vi.fn(),
    onHostCall: async () => ({ ok: false }),
    onEnded,
  };
  const attempt = new LiveStep({ token: Buffer.alloc(16), job: JOB, events, othersCpuMs, measure, onOverdue });
  return { attempt, onOverdue, onEnded };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a step in a sandbox', () => {
  it('is overdue when its code does not begin', () => {
    const { onOverdue } = makeAttempt();
    vi.advanceTimersByTime(START_LIMIT_MS - 1);
    expect(onOverdue).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onOverdue).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: 'LIMIT_WALL' }));
  });

  it('is overdue a grace after its wall limit, counted from its first instruction', () => {
    const { attempt, onOverdue } = makeAttempt();
    vi.advanceTimersByTime(5000);
    expect([attempt.start(), attempt.start()]).toEqual([true, false]);
    vi.advanceTimersByTime(2000 + WALL_GRACE_MS - 1);
    expect(onOverdue).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onOverdue).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: 'LIMIT_WALL' }));
  });

  it('is overdue when it has not settled 200 ms after the grace of a cancel; a shorter grace counts', () => {
    const { attempt, onOverdue } = makeAttempt();
    attempt.start();
    expect([attempt.cancel(1000), attempt.cancel(1500), attempt.cancel(100)]).toEqual([true, false, true]);
    vi.advanceTimersByTime(100 + SETTLE_MS);
    expect(onOverdue).toHaveBeenCalledExactlyOnceWith({ kind: 'killed-on-cancel' });
  });

  it('ends once and is then never overdue', () => {
    const { attempt, onOverdue, onEnded } = makeAttempt();
    attempt.end({ kind: 'innocent', detail: 'x' });
    attempt.end({ kind: 'innocent', detail: 'y' });
    vi.advanceTimersByTime(100_000);
    expect([onEnded.mock.calls.length, onOverdue.mock.calls.length]).toEqual([1, 0]);
    expect([attempt.cancel(1), attempt.start()]).toEqual([false, false]);
  });

  it('exceeds its CPU when its sandbox took more than all steps in it may', () => {
    const { attempt } = makeAttempt(500);
    attempt.observe(() => ({ atMs: 0, cpuMs: 300, delayMs: 0 }));
    attempt.share(250);
    const allowed = 300 + 500 + 1000 + 250 + CPU_GRACE_MS;
    expect([attempt.exceedsCpu(allowed), attempt.exceedsCpu(allowed + 1)]).toEqual([false, true]);
    attempt.end({ kind: 'innocent', detail: '' });
  });

  it.each([
    ['waited for a core most of the time', { atMs: 1000, cpuMs: 99, delayMs: 501 }, true],
    ['waited for something else', { atMs: 1000, cpuMs: 0, delayMs: 10 }, false],
    ['had more than a tenth of a core', { atMs: 1000, cpuMs: 101, delayMs: 900 }, false],
  ])('is starved only by others: one that %s', (_, now, expected) => {
    const { attempt } = makeAttempt();
    expect(attempt.isStarved(now)).toBe(false);
    attempt.observe(() => ({ atMs: 0, cpuMs: 0, delayMs: 0 }));
    expect(attempt.isStarved(now)).toBe(expected);
    attempt.end({ kind: 'innocent', detail: '' });
  });

  it('tells what the kernel measured when it was alone, and nothing when another one came', () => {
    const used = { cpuMs: 7, peakMemoryBytes: 70 };
    const alone = makeAttempt(0, () => used);
    alone.attempt.end({ kind: 'killed-on-cancel' });
    expect(alone.onEnded).toHaveBeenCalledWith({ kind: 'killed-on-cancel' }, used);
    const shared = makeAttempt(0, () => used);
    shared.attempt.share(1000);
    shared.attempt.end({ kind: 'killed-on-cancel' });
    expect(shared.onEnded).toHaveBeenCalledWith({ kind: 'killed-on-cancel' }, undefined);
  });

  it('may make as many host calls as its limit, and a few that were on their way', () => {
    const { attempt } = makeAttempt();
    let calls = 0;
    while (attempt.countHostCall()) calls++;
    expect(calls).toBeGreaterThanOrEqual(JOB.limits.hostCalls);
    expect(calls).toBeLessThan(JOB.limits.hostCalls + 100);
    attempt.end({ kind: 'killed-on-cancel' });
  });
});
