/**
 * Runs of this engine that are in the store only, because they rest (rest.ts). Here are their names, the bundles they pin
 * and, where a step waits for a later try, one timer: some hundred bytes a run instead of all of it.
 *
 * What is parked is in the partition's index as before: a restart, or another owner, finds it there.
 */
import { runKey } from '@flowops/proto/statuses.ts';
import type { Timer, TimerQueue } from '../base/timers.ts';
import type { Ownership, RunRef } from '../store/run-store.ts';

export interface ParkedRun {
  readonly ref: RunRef;
  readonly owner: Ownership;
  readonly priority: number;
  readonly createdMs: number;
  /** Of the bundles that it pins. */
  readonly digests: readonly string[];
  /** When it has to be in memory again; undefined = when a command comes. Epoch ms. */
  readonly dueMs: number | undefined;
}

export class ParkedRuns {
  readonly #timers: TimerQueue;
  readonly #onDue: (run: ParkedRun) => void;
  readonly #runs = new Map<string, { readonly run: ParkedRun; readonly timer: Timer | undefined }>();

  /** @param onDue its time has come; it stays here until it is taken. */
  constructor(timers: TimerQueue, onDue: (run: ParkedRun) => void) {
    this.#timers = timers;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#runs.size;
  }

  get(key: string): ParkedRun | undefined {
    return this.#runs.get(key)?.run;
  }

  /** Replaces what is known of the run. */
  park(run: ParkedRun): void {
    const key = runKey(run.ref);
    this.take(key);
    const timer = run.dueMs === undefined ? undefined : this.#timers.arm(run.dueMs, () => this.#onDue(run));
    this.#runs.set(key, { run, timer });
  }

  /** It is in memory again, or gone from the store. */
  take(key: string): void {
    const parked = this.#runs.get(key);
    if (parked === undefined) return;
    if (parked.timer !== undefined) this.#timers.cancel(parked.timer);
    this.#runs.delete(key);
  }

  /** They have another owner, or are found in the index again. */
  dropPartitions(partitions: ReadonlySet<string>): void {
    for (const [key, { run }] of this.#runs) if (partitions.has(run.owner.partition)) this.take(key);
  }

  dropAll(): void {
    for (const key of [...this.#runs.keys()]) this.take(key);
  }

  *all(): Generator<ParkedRun> {
    for (const { run } of this.#runs.values()) yield run;
  }

  /** Of the bundles that parked runs pin; a digest may come more than once. */
  *digests(): Generator<string> {
    for (const { run } of this.#runs.values()) yield* run.digests;
  }
}
