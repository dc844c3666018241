/**
 * A store that went back in time lost more than the run that noticed: the partition's epoch and index, and commits of
 * other runs, and the end of what was retired. Restores the former once for all that ask at the same time, and has every
 * run, and every index, looked at.
 */
import type { Ownership, RunRef } from '../store/run-store.ts';
import type { RunContext } from './run-context.ts';

/** Every run that finds itself behind asks; all of them mean the same loss. */
const VERIFY_EVERY_MS = 1_000;

export interface RepairedRuns {
  /** Of the owner, in memory or away. */
  readonly refsOf: (owner: Ownership) => readonly RunRef[];
  /** Has each run in memory commit, so that it finds what it lost. Resolves when all have, or left memory. */
  readonly verifyAll: () => Promise<void>;
  /** Takes up what an index holds and nobody here knows: it was let go, and the store forgot that. */
  readonly lookAtIndexes: () => void;
}

export class StoreRepair {
  readonly #context: Pick<RunContext, 'store' | 'clock' | 'log'>;
  readonly #runs: RepairedRuns;
  readonly #restoring = new Map<Ownership, Promise<'ok' | 'fenced'>>();
  #verifiedAtMs = Number.NEGATIVE_INFINITY;
  #verifying: Promise<void> | undefined;

  constructor(context: Pick<RunContext, 'store' | 'clock' | 'log'>, runs: RepairedRuns) {
    this.#context = context;
    this.#runs = runs;
  }

  /** Gives the store the partition's epoch and index again. Rejects like the store. */
  async restore(owner: Ownership): Promise<'ok' | 'fenced'> {
    let restoring = this.#restoring.get(owner);
    if (restoring === undefined) {
      restoring = this.#context.store.restorePartition(owner, this.#runs.refsOf(owner));
      this.#restoring.set(owner, restoring);
      const done = () => this.#restoring.delete(owner);
      restoring.then(done, done);
    }
    const result = await restoring;
    if (result === 'ok') this.verify();
    return result;
  }

  /** Has every run look whether the store still has all of it, unless all did a moment ago. */
  verify(): void {
    if (this.#context.clock.nowMs() - this.#verifiedAtMs >= VERIFY_EVERY_MS) this.#verifying = this.#verifyAll();
  }

  /** Resolves when every run has looked since this was called, and has written again what was lost. Never rejects. */
  async verified(): Promise<void> {
    await this.#verifying;
    this.#verifying = this.#verifyAll();
    await this.#verifying;
  }

  async #verifyAll(): Promise<void> {
    this.#verifiedAtMs = this.#context.clock.nowMs();
    this.#context.log.warn({}, 'the store was away or went back in time; every run looks at its own');
    this.#runs.lookAtIndexes();
    await this.#runs.verifyAll();
  }
}
