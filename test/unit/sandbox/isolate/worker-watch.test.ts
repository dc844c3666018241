import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WorkerWatch } from '../../../../sandbox/isolate/worker-watch.ts';

function makeEvents() {
  const named = { onLate: vi.fn(), onBack: vi.fn(), onDead: vi.fn(), onCpu: vi.fn(), onResident: vi.fn() };
  return { ...named, onChildren: vi.fn(), onRestless: vi.fn() };
}

function makeWatch(options: { pollsMemory?: boolean } = {}) {
  const pongs: (() => void)[] = [];
  const worker = {
    cpuMs: vi.fn(() => 12),
    residentBytes: vi.fn(() => 345),
    delayMs: vi.fn(() => 0),
    hasChildren: vi.fn(() => false),
    ping: vi.fn((onPong: () => void) => {
      pongs.push(onPong);
    }),
  };
  const events = makeEvents();
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

  it('waits longer for one that had no core, but not for ever', () => {
    const { watch, worker, events } = makeWatch();
    let delayMs = 0;
    worker.delayMs.mockImplementation(() => delayMs);
    watch.busy();
    vi.advanceTimersByTime(260);
    for (let second = 0; second < 9; second++) {
      delayMs += 1000;
      vi.advanceTimersByTime(1000);
    }
    expect(events.onLate).toHaveBeenCalledOnce();
    expect(events.onDead).not.toHaveBeenCalled();
    delayMs += 2000;
    vi.advanceTimersByTime(2000);
    expect(events.onDead).toHaveBeenCalledOnce();
  });

  it('does not count time in which the host itself stood still', () => {
    let now = 0;
    const worker = {
      cpuMs: () => undefined,
      residentBytes: () => undefined,
      delayMs: () => undefined,
      hasChildren: () => false,
      ping: vi.fn(),
    };
    const events = makeEvents();
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
    // Five times while it was busy, then once a second.
    expect(length).toBeLessThan(20);
    watch.busy();
    vi.advanceTimersByTime(200);
    expect(worker.cpuMs.mock.calls.length).toBeGreaterThan(length);
    watch.stop();
  });

  it('tells of a worker that has made a process', () => {
    const { watch, worker, events } = makeWatch();
    watch.busy();
    vi.advanceTimersByTime(120);
    expect(events.onChildren).not.toHaveBeenCalled();
    worker.hasChildren.mockReturnValue(true);
    vi.advanceTimersByTime(120);
    expect(events.onChildren).toHaveBeenCalled();
    watch.stop();
  });

  it('tells of a worker that goes on computing after its last step, and not of one that makes its next isolate', () => {
    const { watch, worker, events, pong } = makeWatch();
    let cpuMs = 0;
    worker.cpuMs.mockImplementation(() => cpuMs);
    watch.busy();
    watch.idle();
    vi.advanceTimersByTime(280);
    pong();
    vi.advanceTimersByTime(500);
    cpuMs += 100;
    vi.advanceTimersByTime(1000);
    expect(events.onRestless).not.toHaveBeenCalled();
    cpuMs += 900;
    vi.advanceTimersByTime(1000);
    expect(events.onRestless).toHaveBeenCalledWith(900);
    watch.stop();
  });
});
