import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PresenceWatch } from '../../../proto/host-presence.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function makeWatch() {
  const state = { bytes: 0, vouches: true };
  const onSilence = vi.fn();
  const watch = new PresenceWatch({ vouches: () => state.vouches, bytesIn: () => state.bytes, onSilence });
  return { watch, state, onSilence };
}

describe('the presence of a host', () => {
  it('is asked about several times in a lease, and answers only while the engine stands by its attempts', () => {
    const { watch, state } = makeWatch();
    const before = watch.vouchedAtMs;
    vi.advanceTimersByTime(100);
    expect(watch.asked(3)).toBe(true);
    expect([watch.load, watch.vouchedAtMs - before]).toEqual([3, 100]);
    vi.advanceTimersByTime(100);
    state.vouches = false;
    expect(watch.asked(4)).toBe(false);
    expect([watch.load, watch.vouchedAtMs - before]).toEqual([4, 100]);
  });

  it('tells each load and, once, that it drains', () => {
    const { watch } = makeWatch();
    const [onLoad, onDraining] = [vi.fn(), vi.fn()];
    watch.onLoad(onLoad);
    watch.onDraining(onDraining);
    watch.asked(1);
    watch.asked(1);
    watch.drains();
    watch.drains();
    expect([onLoad.mock.calls.length, onDraining.mock.calls.length, watch.isDraining]).toEqual([2, 1, true]);
  });

  it('is over when nothing was heard for long, and not before', () => {
    const { watch, state, onSilence } = makeWatch();
    watch.watch(800);
    for (let heard = 0; heard < 5; heard++) {
      vi.advanceTimersByTime(700);
      state.bytes += 10;
    }
    expect(onSilence).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1_000);
    expect(onSilence).toHaveBeenCalledWith(800);
    watch.close();
  });

  it('is not over because this process was stopped: what came meanwhile is read first', () => {
    const { watch, onSilence } = makeWatch();
    watch.watch(800);
    vi.advanceTimersByTime(800);
    // As a process that wakes sees it: the clock has gone on, the timer fires once.
    const now = performance.now();
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now + 60_000);
    vi.advanceTimersToNextTimer();
    clock.mockRestore();
    expect(onSilence).not.toHaveBeenCalled();
    watch.close();
  });
});
