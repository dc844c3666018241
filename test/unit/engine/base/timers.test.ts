import { Timers } from '@flowops/engine/base/timers.ts';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

describe('the timer heap', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it('fires every timer once, in order of its time, and none that was cancelled', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ dueMs: fc.nat({ max: 5_000 }), cancel: fc.boolean() })), (wanted) => {
        let nowMs = 0;
        const start = Date.now();
        const timers = new Timers({ nowMs: () => (nowMs = Date.now() - start) });
        const fired: number[] = [];
        const armed = wanted.map(({ dueMs }) => timers.arm(dueMs, () => fired.push(dueMs)));
        for (const [index, timer] of armed.entries()) if (wanted[index]?.cancel === true) timers.cancel(timer);
        vi.advanceTimersByTime(6_000);
        const expected = wanted.filter(({ cancel }) => !cancel).map(({ dueMs }) => dueMs);
        expect(fired).toEqual(expected.sort((a, b) => a - b));
        expect(nowMs).toBeGreaterThanOrEqual(0);
        timers.close();
      }),
    );
  });

  it('does not fire at once for a time that setTimeout cannot hold', () => {
    const timers = new Timers({ nowMs: () => Date.now() });
    const fire = vi.fn();
    timers.arm(Date.now() + 2 ** 31 + 60_000, fire);
    vi.advanceTimersByTime(2 ** 31 - 1);
    expect(fire).not.toHaveBeenCalled();
    vi.advanceTimersByTime(120_000);
    expect(fire).toHaveBeenCalledOnce();
    timers.close();
  });
});
