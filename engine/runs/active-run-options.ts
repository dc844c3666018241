/** What an active run is made of. */
import type { RunState } from '../scheduler/state.ts';
import type { Ownership, RunRef, StateFormat } from '../store/run-store.ts';
import type { RunRecord } from './codec.ts';
import type { StoreTrouble } from './committer.ts';
import type { WholeRun } from './merge-patches.ts';
import type { Rest } from './rest.ts';
import type { RunContext } from './run-context.ts';

export interface ActiveRunOptions {
  readonly ref: RunRef;
  readonly owner: Ownership;
  readonly state: RunState;
  readonly record: RunRecord;
  /** Of the store's copy. */
  readonly revision: number;
  /** Position of the first entry in the store's outbox, or of the next to come. */
  readonly outboxHead: number;
  /** Of the store's copy. */
  readonly format: StateFormat;
  /** As the store has it. */
  readonly whole: WholeRun;
  readonly context: RunContext;
  /**
   * The run left memory: it is retired, rests, or another owner has it. `letGo` resolves when the end of each attempt that
   * only this engine could end is noted.
   */
  readonly onGone: (letGo: Promise<void>) => void;
  /** The run has rested for a while, and the store holds all of it: it may be dropped. */
  readonly onRest: (rest: Rest) => void;
  /** The commit that made the run final is durable, as far as the store's answer goes. */
  readonly onFinished: () => void;
  readonly trouble: StoreTrouble;
}
