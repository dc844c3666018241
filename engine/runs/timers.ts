/**
 * All timers of the engine in one binary heap behind one `setTimeout` of at most a minute (a longer one than
 * 2^31 ms would fire at once, and a clock that is set must be noticed). Times are epoch ms of the engine's `Clock`.
 */
import type { Clock } from './clock.ts';

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
  readonly #heap: Timer[] = [];
  #sleep: NodeJS.Timeout | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `fire` once, not before `dueMs`, never synchronously. */
  arm(dueMs: number, fire: () => void): Timer {
    const timer: Timer = { dueMs, fire, isCancelled: false };
    this.#push(timer);
    if (this.#heap[0] === timer) this.#schedule();
    return timer;
  }

  /** Idempotent; a cancelled timer leaves the heap when its time comes. */
  cancel(timer: Timer): void {
    timer.isCancelled = true;
  }

  close(): void {
    clearTimeout(this.#sleep);
    this.#heap.length = 0;
  }

  #schedule(): void {
    clearTimeout(this.#sleep);
    const next = this.#heap[0];
    if (next === undefined) return;
    const ms = Math.min(MAX_SLEEP_MS, Math.max(0, next.dueMs - this.#clock.nowMs()));
    this.#sleep = setTimeout(() => this.#fireDue(), ms);
    this.#sleep.unref();
  }

  #fireDue(): void {
    const nowMs = this.#clock.nowMs();
    for (let first = this.#heap[0]; first !== undefined && first.dueMs <= nowMs; first = this.#heap[0]) {
      this.#pop();
      if (!first.isCancelled) first.fire();
    }
    this.#schedule();
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let index = heap.push(timer) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#dueAt(parent) <= timer.dueMs) break;
      this.#swap(index, parent);
      index = parent;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return;
    heap[0] = last;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= heap.length) return;
      const child = left + 1 < heap.length && this.#dueAt(left + 1) < this.#dueAt(left) ? left + 1 : left;
      if (this.#dueAt(child) >= this.#dueAt(index)) return;
      this.#swap(index, child);
      index = child;
    }
  }

  #dueAt(index: number): number {
    return this.#heap[index]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  #swap(a: number, b: number): void {
    const first = this.#heap[a];
    const second = this.#heap[b];
    if (first === undefined || second === undefined) return;
    this.#heap[a] = second;
    this.#heap[b] = first;
  }
}
