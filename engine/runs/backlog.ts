/**
 * Runs that were accepted while the engine had no room: durable in the store, here only their names. The next to
 * begin is the one of the highest priority, then the oldest (design 4.3). A binary heap.
 */
import type { RunRef } from '../store/run-store.ts';

export interface WaitingRun {
  readonly ref: RunRef;
  readonly partition: string;
  readonly priority: number;
  readonly createdMs: number;
}

export class Backlog {
  readonly #heap: WaitingRun[] = [];

  get size(): number {
    return this.#heap.length;
  }

  push(run: WaitingRun): void {
    const heap = this.#heap;
    let index = heap.push(run) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#isBefore(index, parent)) return;
      this.#swap(index, parent);
      index = parent;
    }
  }

  pop(): WaitingRun | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    heap[0] = last;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= heap.length) return first;
      const child = left + 1 < heap.length && this.#isBefore(left + 1, left) ? left + 1 : left;
      if (!this.#isBefore(child, index)) return first;
      this.#swap(index, child);
      index = child;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const first = this.#heap[a];
    const second = this.#heap[b];
    if (first === undefined || second === undefined) return false;
    return first.priority !== second.priority ? first.priority > second.priority : first.createdMs < second.createdMs;
  }

  #swap(a: number, b: number): void {
    const first = this.#heap[a];
    const second = this.#heap[b];
    if (first === undefined || second === undefined) return;
    this.#heap[a] = second;
    this.#heap[b] = first;
  }
}
