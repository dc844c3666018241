/**
 * All timers of the engine in one binary heap behind one `setTimeout` of at most a minute (a longer one than
 * 2^31 ms would fire at once, and a clock that is set must be noticed). Times are epoch ms of the engine's `Clock`.
 */
import type { Clock } from './clock.ts';
import { Heap } from './heap.ts';

const MAX_SLEEP_MS = 60_000;

export interface Timer {
  readonly dueMs: number;
  readonly fire: () => void;
  isCancelled: boolean;
}

/** What a run needs of it. */
export interface TimerQueue {
  arm(dueMs: number, fire: () => void): Timer;
  cancel(timer: Timer): void;
}

export class Timers implements TimerQueue {
  readonly #clock: Clock;
  readonly #heap = new Heap<Timer>((a, b) => a.dueMs < b.dueMs);
  #sleep: NodeJS.Timeout | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `fire` once, not before `dueMs`, never synchronously. */
  arm(dueMs: number, fire: () => void): Timer {
    const timer: Timer = { dueMs, fire, isCancelled: false };
    this.#heap.push(timer);
    if (this.#heap.peek() === timer) this.#schedule();
    return timer;
  }

  /** Idempotent; a cancelled timer leaves the heap when its time comes. */
  cancel(timer: Timer): void {
    timer.isCancelled = true;
  }

  close(): void {
    clearTimeout(this.#sleep);
    this.#heap.clear();
  }

  #schedule(): void {
    clearTimeout(this.#sleep);
    const next = this.#heap.peek();
    if (next === undefined) return;
    const ms = Math.min(MAX_SLEEP_MS, Math.max(0, next.dueMs - this.#clock.nowMs()));
    this.#sleep = setTimeout(() => this.#fireDue(), ms);
    this.#sleep.unref();
  }

  #fireDue(): void {
    const nowMs = this.#clock.nowMs();
    for (let first = this.#heap.peek(); first !== undefined && first.dueMs <= nowMs; first = this.#heap.peek()) {
      this.#heap.pop();
      if (!first.isCancelled) first.fire();
    }
    this.#schedule();
  }
}
