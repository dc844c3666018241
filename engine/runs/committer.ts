/**
 * Commits of one run, one after the other, each tried until the store has it (design 4.2). A store that comes back
 * without its last moments (a Redis that lost what was not on disk yet) is given the missing commits again, in order:
 * the recent ones are kept for as long as the store may still lose them.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import type { Log } from '../log.ts';
import { type RunPatch, type RunRef, type RunStore, StoreUnavailable } from '../store/run-store.ts';
import type { Clock } from './clock.ts';
import { storeRetryMs, type Waiting } from './until-available.ts';

/** Beyond the store's own delay to disk: a restart takes a moment, and clocks differ. */
const REPLAY_MARGIN_MS = 30_000;
/** A busy run keeps at most this many; a store that lost more than these is told as an error. */
const MAX_KEPT_COMMITS = 2_000;

export type CommitEnd = 'committed' | 'fenced' | 'closed' | 'lost';

interface KeptCommit {
  readonly revision: number;
  readonly patch: RunPatch;
  readonly atMs: number;
}

export class Committer {
  readonly #run: RunRef;
  readonly #epoch: number;
  readonly #store: RunStore;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #waiting: Waiting;
  readonly #kept: KeptCommit[] = [];
  #revision: number;

  constructor(options: {
    run: RunRef;
    epoch: number;
    revision: number;
    store: RunStore;
    log: Log;
    clock: Clock;
    waiting: Waiting;
  }) {
    this.#run = options.run;
    this.#epoch = options.epoch;
    this.#revision = options.revision;
    this.#store = options.store;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#waiting = options.waiting;
  }

  /** `fenced`: another owner has the run. `lost`: the store has no such run or an older one than can be repaired. */
  async commit(patch: RunPatch): Promise<CommitEnd> {
    const end = await this.#commitAt(this.#revision, patch);
    if (end === 'committed') {
      this.#keep(this.#revision, patch);
      this.#revision++;
    }
    return end;
  }

  async #commitAt(revision: number, patch: RunPatch): Promise<CommitEnd> {
    for (let attempt = 0; ; attempt++) {
      if (this.#waiting.signal.aborted) return 'closed';
      try {
        const answer = await this.#store.commit(this.#run, this.#epoch, revision, patch);
        if (attempt > 0) this.#log.info({ ...this.#run }, 'the store took the commit after all');
        if (answer.result === 'ok') return 'committed';
        if (answer.result === 'fenced') return 'fenced';
        if (answer.result === 'missing') return this.#reportLoss('the store does not hold this run any more');
        const repaired = await this.#replay(answer.revision, revision);
        if (repaired !== 'committed') return repaired;
      } catch (thrown) {
        if (!(thrown instanceof StoreUnavailable)) throw thrown;
        if (attempt === 0) this.#log.warn({ ...this.#run }, `a commit waits for the store: ${messageOf(thrown)}`);
        await this.#waiting.pause(storeRetryMs(attempt), this.#waiting.signal);
      }
    }
  }

  /** Gives the store the commits from `stored` up to (not including) `revision` again. */
  async #replay(stored: number, revision: number): Promise<CommitEnd> {
    const missing = this.#kept.filter((kept) => kept.revision >= stored && kept.revision < revision);
    if (missing.length !== revision - stored) {
      return this.#reportLoss(
        `the store went back from revision ${revision} to ${stored}, further than can be repaired`,
      );
    }
    this.#log.warn(
      { ...this.#run, from: stored, to: revision },
      'the store lost its last commits; they are written again',
    );
    for (const kept of missing) {
      const answer = await this.#store.commit(this.#run, this.#epoch, kept.revision, kept.patch);
      if (answer.result === 'fenced') return 'fenced';
      if (answer.result !== 'ok') return this.#reportLoss(`replaying revision ${kept.revision} gave ${answer.result}`);
    }
    return 'committed';
  }

  #keep(revision: number, patch: RunPatch): void {
    const delayMs = this.#store.durability.delayMs;
    if (delayMs === 0) return;
    const nowMs = this.#clock.nowMs();
    this.#kept.push({ revision, patch, atMs: nowMs });
    const keepMs = delayMs + REPLAY_MARGIN_MS;
    while (this.#kept.length > MAX_KEPT_COMMITS || (this.#kept[0]?.atMs ?? nowMs) < nowMs - keepMs) this.#kept.shift();
  }

  #reportLoss(problem: string): 'lost' {
    this.#log.error({ ...this.#run }, `${problem}; the run is left as it is`);
    return 'lost';
  }
}
