/**
 * Places for steps in flight. Bounded, fair across runs (design 4.5): a run that wants more than is free waits in a
 * queue, gets one place per turn and goes to the end again, so that a run of 10,000 steps does not starve one of 3.
 * A higher priority goes first. In memory only: a restarted engine starts with all places free.
 */

import type { Standing } from '../base/standing.ts';
import type { Sandboxes } from '../sandbox-client/sandboxes.ts';

/** Steps in flight at most as things are. */
export function capacityOf(sandboxes: Sandboxes, standing: Standing): number {
  return standing.isGood ? sandboxes.capacity() : 0;
}

export interface PlaceTaker {
  readonly priority: number;
  /** A place that the taker waited for. It MUST use it or give it back with `release`. */
  givePlace(): void;
}

export class Admission {
  readonly #capacity: () => number;
  #inUse = 0;
  /** By priority, waiting takers in order; a Set keeps insertion order and each taker once. */
  readonly #waiting = new Map<number, Set<PlaceTaker>>();

  /** @param capacity steps in flight at most; asked at every decision, since hosts come and go. */
  constructor(capacity: () => number) {
    this.#capacity = capacity;
  }

  get inUse(): number {
    return this.#inUse;
  }

  /** Takes a place at once (true), or joins the queue (false): `givePlace` is called later. */
  take(taker: PlaceTaker): boolean {
    if (this.#inUse < this.#capacity() && !this.#isAnyoneBefore(taker)) {
      this.#inUse++;
      return true;
    }
    let queue = this.#waiting.get(taker.priority);
    if (queue === undefined) {
      queue = new Set();
      this.#waiting.set(taker.priority, queue);
    }
    queue.add(taker);
    return false;
  }

  /** For an attempt that runs already, whatever the capacity: it was taken over with its run. */
  occupy(): void {
    this.#inUse++;
  }

  release(): void {
    this.#inUse--;
    this.refill();
  }

  /** Gives free places to who waits; call it when the capacity grew. */
  refill(): void {
    while (this.#inUse < this.#capacity()) {
      const next = this.#shift();
      if (next === undefined) return;
      this.#inUse++;
      next.givePlace();
    }
  }

  /** The taker wants no place any more. */
  leave(taker: PlaceTaker): void {
    const queue = this.#waiting.get(taker.priority);
    queue?.delete(taker);
    if (queue?.size === 0) this.#waiting.delete(taker.priority);
  }

  #isAnyoneBefore(taker: PlaceTaker): boolean {
    for (const [priority, queue] of this.#waiting) {
      if (priority > taker.priority || (priority === taker.priority && queue.size > (queue.has(taker) ? 1 : 0)))
        return true;
    }
    return false;
  }

  #shift(): PlaceTaker | undefined {
    let best: number | undefined;
    for (const priority of this.#waiting.keys()) if (best === undefined || priority > best) best = priority;
    if (best === undefined) return undefined;
    const queue = this.#waiting.get(best);
    const [next] = queue ?? [];
    if (next !== undefined) this.leave(next);
    return next;
  }
}
