import type { Timer } from '@flowops/engine/base/timers.ts';
import { ParkedRuns } from '@flowops/engine/runs/parked-runs.ts';
import { describe, expect, it } from 'vitest';

const timersByHand = () => {
  const armed: Timer[] = [];
  return {
    armed,
    arm: (dueMs: number, fire: () => void) => {
      const timer: Timer = { dueMs, fire, isCancelled: false };
      armed.push(timer);
      return timer;
    },
    cancel: (timer: Timer) => {
      timer.isCancelled = true;
    },
  };
};
const parked = (runId: string, dueMs?: number, partition = '0') => ({
  ref: { flowId: 'f', runId },
  owner: { partition, epoch: 1 },
  priority: 0,
  createdMs: 0,
  digests: [`sha256:${runId}`],
  dueMs,
});

describe('parked runs', () => {
  it('are told when their time has come, and stay until they are taken', () => {
    const timers = timersByHand();
    const due: string[] = [];
    const runs = new ParkedRuns(timers, ({ ref }) => due.push(ref.runId));
    runs.park(parked('later', 500));
    runs.park(parked('paused'));
    expect(timers.armed.map(({ dueMs }) => dueMs)).toEqual([500]);
    timers.armed[0]?.fire();
    expect(due).toEqual(['later']);
    expect(runs.size).toBe(2);
    runs.take('f:later');
    expect(runs.get('f:later')).toBeUndefined();
    expect([...runs.digests()]).toEqual(['sha256:paused']);
  });

  it('are not told once they were taken, parked again or given to another owner', () => {
    const timers = timersByHand();
    const runs = new ParkedRuns(timers, () => expect.unreachable());
    runs.park(parked('a', 500));
    runs.park(parked('a', 700));
    runs.take('f:a');
    runs.park(parked('b', 500, '1'));
    runs.park(parked('c', 500, '2'));
    runs.dropPartitions(new Set(['1']));
    expect(timers.armed.map(({ isCancelled }) => isCancelled)).toEqual([true, true, true, false]);
    runs.dropAll();
    expect(timers.armed.every(({ isCancelled }) => isCancelled)).toBe(true);
    expect(runs.size).toBe(0);
  });
});
