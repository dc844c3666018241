import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WorkerWatch } from '../../../../sandbox/isolate/worker-watch.ts';

function makeWatch(options: { pollsMemory?: boolean } = {}) {
  const pongs: (() => void)[] = [];
  const worker = {
    cpuMs: vi.fn(() => 12),
    residentBytes: vi.fn(() => 345),
    ping: vi.fn((onPong: () => void) => {
      pongs.push(onPong);
    }),
  };
  const events = { onLate: vi.fn(), onBack: vi.fn(), onDead: vi.fn(), onCpu: vi.fn(), onResident: vi.fn() };
  const watch = new WorkerWatch({ worker, events, pollsMemory: options.pollsMemory ?? false });
  return { watch, worker, events, pong: () => pongs.shift()?.() };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the watch over a worker', () => {
  it('pings every 250 ms while steps are in it', () => {
    const { watch, worker, events, pong } = makeWatch();
    watch.busy();
    for (let i = 0; i < 4; i++) {
      vi.advanceTimersByTime(270);
      pong();
    }
    expect(worker.ping).toHaveBeenCalledTimes(4);
    expect([events.onLate.mock.calls.length, events.onDead.mock.calls.length]).toEqual([0, 0]);
    watch.stop();
  });

  it('tells once that a ping is late, and that the worker is back', () => {
    const { watch, events, pong } = makeWatch();
    watch.busy();
    vi.advanceTimersByTime(1000);
    expect(events.onLate).toHaveBeenCalledOnce();
    pong();
    expect(events.onBack).toHaveBeenCalledOnce();
    expect(events.onDead).not.toHaveBeenCalled();
    watch.stop();
  });

  it('gives a worker up that has not answered for 2 s', () => {
    const { watch, events } = makeWatch();
    watch.busy();
    vi.advanceTimersByTime(2200);
    expect(events.onDead).not.toHaveBeenCalled();
    vi.advanceTimersByTime(200);
    expect(events.onDead).toHaveBeenCalledOnce();
  });

  it('does not count time in which the host itself stood still', () => {
    let now = 0;
    const worker = { cpuMs: () => undefined, residentBytes: () => undefined, ping: vi.fn() };
    const events = { onLate: vi.fn(), onBack: vi.fn(), onDead: vi.fn(), onCpu: vi.fn(), onResident: vi.fn() };
    const watch = new WorkerWatch({ worker, events, pollsMemory: false, now: () => now });
    watch.busy();
    for (let tick = 0; tick < 5; tick++) {
      now += 10_000;
      vi.advanceTimersByTime(20);
    }
    expect(worker.ping).toHaveBeenCalledOnce();
    expect([events.onLate.mock.calls.length, events.onDead.mock.calls.length]).toEqual([0, 0]);
    watch.stop();
  });

  it('looks at memory every 20 ms where nothing else bounds it', () => {
    const polled = makeWatch({ pollsMemory: true });
    polled.watch.busy();
    vi.advanceTimersByTime(100);
    expect(polled.events.onResident.mock.calls).toEqual([[345], [345], [345], [345], [345]]);
    polled.watch.stop();
    const bounded = makeWatch({ pollsMemory: false });
    bounded.watch.busy();
    vi.advanceTimersByTime(100);
    expect(bounded.events.onResident).not.toHaveBeenCalled();
    expect(bounded.events.onCpu).toHaveBeenCalledExactlyOnceWith(12);
    bounded.watch.stop();
  });

  it('rests when the worker has been idle for a while', () => {
    const { watch, worker } = makeWatch();
    worker.ping.mockImplementation((onPong) => onPong());
    watch.busy();
    watch.idle();
    vi.advanceTimersByTime(10_000);
    const { length } = worker.cpuMs.mock.calls;
    expect(length).toBeLessThan(10);
    watch.busy();
    vi.advanceTimersByTime(200);
    expect(worker.cpuMs.mock.calls.length).toBeGreaterThan(length);
    watch.stop();
  });
});
