/**
 * Time and order of a simulation: a queue of happenings, each at its simulated moment. Between two of them everything
 * that the code under test does by itself (promises that follow from promises) comes to rest, so that one seed has one
 * order.
 *
 * Times are ms since the simulation began; EPOCH_MS turns them into dates.
 */
import { Heap } from '@flowops/engine/base/heap.ts';
import type { Chance } from './chance.ts';
import type { Trace } from './trace.ts';

/** 2027-01-15, 08:00 UTC: a date that no test depends on. */
export const EPOCH_MS = 1_800_000_000_000;

/** A simulation that needs more is going in circles. */
const MAX_HAPPENINGS = 400_000;

export interface Happening {
  cancel(): void;
}

interface Queued extends Happening {
  readonly atMs: number;
  readonly order: number;
  act: (() => void) | undefined;
}

export class World {
  readonly chance: Chance;
  readonly trace: Trace;
  readonly #queue = new Heap<Queued>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order));
  #nowMs = 0;
  #order = 0;
  #count = 0;

  constructor(chance: Chance, trace: Trace) {
    this.chance = chance;
    this.trace = trace;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get happenings(): number {
    return this.#count;
  }

  at(delayMs: number, act: () => void): Happening {
    const happening: Queued = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      order: this.#order++,
      act,
      cancel() {
        happening.act = undefined;
      },
    };
    this.#queue.push(happening);
    return happening;
  }

  tell(who: string, what: string): void {
    this.trace.add(this.#nowMs, who, what);
  }

  /**
   * Lets happen what happens next until `isOver`, or for `forMs`, or until nothing is left; `afterEach` is called when
   * everything that followed from a happening has come to rest. @throws what a happening throws
   */
  run(options: { isOver: () => boolean; forMs: number; afterEach: () => void }): Promise<void> {
    const { isOver, forMs, afterEach } = options;
    const untilMs = this.#nowMs + forMs;
    return new Promise((resolve, reject) => {
      const turn = () => {
        try {
          afterEach();
          if (isOver() || !this.#step(untilMs)) resolve();
          else nextTurn(turn);
        } catch (thrown) {
          reject(thrown);
        }
      };
      nextTurn(turn);
    });
  }

  #step(untilMs: number): boolean {
    for (;;) {
      const next = this.#queue.peek();
      if (next === undefined || next.atMs > untilMs) {
        this.#nowMs = untilMs;
        return false;
      }
      this.#queue.pop();
      if (next.act === undefined) continue;
      if (++this.#count > MAX_HAPPENINGS) throw new Error(`more than ${MAX_HAPPENINGS} happenings: it goes in circles`);
      this.#nowMs = next.atMs;
      next.act();
      return true;
    }
  }
}

/** Taken before a simulation can take it away (real-world.ts): all promises that can settle have settled by then. */
const nextTurn = setImmediate;
