/** The backoff timers of one run: at most one per step. */
import type { Timer, TimerQueue } from '../base/timers.ts';

export class Backoffs {
  readonly #timers: TimerQueue;
  readonly #onOver: (step: number) => void;
  readonly #armed = new Map<number, Timer>();

  constructor(timers: TimerQueue, onOver: (step: number) => void) {
    this.#timers = timers;
    this.#onOver = onOver;
  }

  /** Replaces the step's timer. */
  arm(step: number, dueMs: number): void {
    const before = this.#armed.get(step);
    if (before !== undefined) this.#timers.cancel(before);
    const fire = () => {
      this.#armed.delete(step);
      this.#onOver(step);
    };
    this.#armed.set(step, this.#timers.arm(dueMs, fire));
  }

  disarm(): void {
    for (const timer of this.#armed.values()) this.#timers.cancel(timer);
    this.#armed.clear();
  }
}
