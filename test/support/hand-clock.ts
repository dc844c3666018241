/** Time that passes only when a test says so: clock, timers and waits of engine/runs in one. */
import type { Clock } from '@flowops/engine/base/clock.ts';
import type { Pause } from '@flowops/engine/base/pause.ts';
import type { Timer, TimerQueue } from '@flowops/engine/base/timers.ts';

export class HandClock implements Clock, TimerQueue {
  #nowMs: number;
  readonly #timers = new Set<Timer>();

  constructor(nowMs = Date.now()) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  arm(dueMs: number, fire: () => void): Timer {
    const timer: Timer = { dueMs, fire, isCancelled: false };
    this.#timers.add(timer);
    return timer;
  }

  cancel(timer: Timer): void {
    timer.isCancelled = true;
    this.#timers.delete(timer);
  }

  readonly pause: Pause = (ms, signal) =>
    new Promise((resolve) => {
      const timer = this.arm(this.#nowMs + ms, resolve);
      const end = () => {
        this.cancel(timer);
        resolve();
      };
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
    });

  /** Fires what is due by then, in order, each followed by what it sets off in this process. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(({ dueMs }) => dueMs <= untilMs).sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fire();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }
}

/** Lets everything come to rest that waits for no time: promises, and a store that answers at once. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
