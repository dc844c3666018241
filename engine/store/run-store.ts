/**
 * The store of run state, as the engine sees it. Two implementations (redis-store, sqlite-store) pass one contract
 * suite (test/contract/run-store.ts). The store knows keys, fencing, revisions and the outbox; what is inside a step
 * record or a definition is opaque text to it (runs/codec.ts writes and reads that).
 *
 * Invariants every implementation keeps:
 *   S1. A write with an epoch lower than the one stored with the run (or partition) changes nothing: `fenced`.
 *   S2. A commit is atomic: meta, steps, outputs and events of one patch are all there or none is.
 *   S3. A commit names the revision it follows. Repeating a commit that was already applied under the same epoch (the
 *       answer was lost) answers `ok` and changes nothing. A store that holds an older revision (it lost its last
 *       moments) answers `behind`: the missing commits, or the run whole, are written again from there. A store that
 *       lost only the claim takes the commit and the epoch with it.
 *   S4. A run is in its partition's index before its keys exist, and leaves it only by `retire`.
 *   S5. The outbox holds events in sequence order without gaps, from `outboxHead` on.
 *   S6. Methods reject only with StoreUnavailable (repeat later) or StoreDamaged (somebody else's data lies where the
 *       run should; repeating does not help); everything expected is returned.
 */

/**
 * The formats of step and run records that this release reads: its own and the one before (runs/codec.ts knows what each
 * holds). It writes the older one until STATE_FORMAT says otherwise, so that the release before can go on with all of it.
 */
export const STATE_FORMATS = [1, 2] as const;
export type StateFormat = (typeof STATE_FORMATS)[number];
export const DEFAULT_STATE_FORMAT: StateFormat = STATE_FORMATS[0];

export function isStateFormat(format: number): format is StateFormat {
  return STATE_FORMATS.some((known) => known === format);
}

export interface RunRef {
  readonly flowId: string;
  readonly runId: string;
}

/** A partition name ("0", "1", … for Kafka; others for embedded use) and the epoch under which it is held. */
export interface Ownership {
  readonly partition: string;
  readonly epoch: number;
}

/** What one commit changes. Absent parts stay as they are. */
export interface RunPatch {
  /** Fields of `:meta` to set. Names beginning with `_` are the store's own and refused. */
  readonly meta?: Readonly<Record<string, string>>;
  /** stepId → record. */
  readonly steps?: Readonly<Record<string, string>>;
  /** `stepId.outputKey` → JSON text. */
  readonly outputs?: Readonly<Record<string, string>>;
  /** Appended to the outbox in this order; the first has the sequence after the last one stored. */
  readonly events?: readonly string[];
  /** Every event up to this sequence was published; they leave the outbox. Beyond the last one stored: all of those. */
  readonly acknowledged?: number;
  /**
   * Empties the outbox and gives the first of `events` this sequence. Only for writing a run whole again after the
   * store went back in time (S3), so that sequences already published are not given twice.
   */
  readonly outboxFrom?: number;
  /** Replaces the definition. */
  readonly definition?: string;
}

export interface RunMeta {
  /** In which the run was created; it stays. One that is not in STATE_FORMATS is only ever seen by `read`. */
  readonly format: number;
  /** Home partition, never changed. */
  readonly partition: string;
  readonly epoch: number;
  /** Number of commits so far; the creating write is revision 1. */
  readonly revision: number;
  /** Sequence of the first event still in the outbox (or of the next one to come). Sequences begin at 1. */
  readonly outboxHead: number;
  /** The opaque fields of patches. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface StoredRun {
  readonly meta: RunMeta;
  readonly definition: string;
  readonly steps: ReadonlyMap<string, string>;
  /** Unpublished events, first is `meta.outboxHead`. */
  readonly outbox: readonly string[];
}

/** A run as its new owner reads it. */
export interface ClaimedRun extends StoredRun {
  /** What others told the owner (`note`), oldest first. */
  readonly notes: readonly string[];
}

export type CreateResult =
  | { readonly result: 'created' }
  /** `definition` is empty when the run is over and its retention too (only `:meta` is left). */
  | { readonly result: 'exists'; readonly meta: RunMeta; readonly definition: string }
  /** A STOP came before the START (`markStopped`); nothing was written. */
  | { readonly result: 'stop-marked' }
  | { readonly result: 'fenced' };

export type CommitResult =
  | { readonly result: 'ok' }
  | { readonly result: 'fenced' }
  | { readonly result: 'behind'; readonly revision: number }
  /** There is no such run, or it is retired (`claim` puts it back). */
  | { readonly result: 'missing' };

export type ClaimResult =
  | { readonly result: 'claimed'; readonly run: ClaimedRun }
  | { readonly result: 'missing' }
  | { readonly result: 'fenced' }
  | { readonly result: 'unknown-format'; readonly format: number };

export type NoteListener = (run: RunRef, text: string) => void;

/** More than a run has steps in flight on one engine; the inbox of a run whose owner never comes back stays small. */
export const NOTES_MAX = 1_000;
/** A note is a line of JSON that names an attempt. */
export const NOTE_MAX_BYTES = 1_024;

export interface Durability {
  /** Text for logs: "redis AOF everysec", "sqlite WAL FULL". */
  readonly description: string;
  /** How long after an acknowledged write it is on disk, ms: 0, or 2500 for everysec (design 4.3). */
  readonly delayMs: number;
}

export interface RunStore {
  readonly durability: Durability;
  /** Of the runs that `create` writes. */
  readonly format: StateFormat;
  /** `down`: calls reject at the moment, and whoever waits for a write to be on disk has to wait on. */
  readonly state: 'up' | 'down';
  /**
   * Tells that the store, which is `up` again, may have lost its last moments (its server was restarted, or another took
   * its place): every run has to look at its own, also one with nothing to write. The result ends that.
   */
  onDoubt(listener: () => void): () => void;
  /** The store's own clock, epoch ms. */
  clock(): Promise<number>;

  /**
   * Raises the partition's epoch to the lowest of its own (keys.ts) from max(stored + 1, clock) on, and gives it. From
   * here on its notes are listened for, and whoever opens it after this one is told (`onTaken`).
   */
  openPartition(partition: string): Promise<Ownership>;
  /** It is not held any more: its notes are not listened for. Idempotent. */
  closePartition(partition: string): Promise<void>;
  /**
   * Gives a store that went back in time the partition's epoch and the index entries of `runs` (runs of it that are not
   * retired) again. Changes nothing where they still are.
   */
  restorePartition(owner: Ownership, runs: readonly RunRef[]): Promise<'ok' | 'fenced'>;
  /** The runs of a partition's index, those created first at the front. */
  activeRuns(partition: string): Promise<readonly RunRef[]>;
  /** The partitions that have an index or an epoch. */
  partitions(): Promise<readonly string[]>;

  /** Adds to the index, then writes the run (revision 1, or nothing). `ignoreStopMark` creates in spite of a mark. */
  create(
    run: RunRef,
    owner: Ownership,
    initial: RunPatch & { readonly definition: string },
    options?: { readonly ignoreStopMark?: boolean },
  ): Promise<CreateResult>;
  /**
   * Raises the run's epoch to the owner's and reads everything but the outputs. `fenced` also when the owner's
   * partition is not the run's home. A retired run is put back (index, no expiry) and has to be retired again.
   */
  claim(run: RunRef, owner: Ownership): Promise<ClaimResult>;
  /** @param revision the revision this commit follows. */
  commit(run: RunRef, epoch: number, revision: number, patch: RunPatch): Promise<CommitResult>;
  /** Outputs by `stepId.outputKey`; absent ones are left out. */
  readOutputs(run: RunRef, names: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** All outputs of a run (for showing a result). */
  readAllOutputs(run: RunRef): Promise<ReadonlyMap<string, string>>;
  /** Reads without claiming: undefined when there is none. */
  read(run: RunRef): Promise<StoredRun | undefined>;
  /** Lets the run's keys expire (`:meta` after max(retentionMs, 7 d)) and takes it out of the index. Idempotent. */
  retire(run: RunRef, owner: Ownership, retentionMs: number): Promise<'ok' | 'fenced'>;

  /**
   * Tells the run's owner something, whoever that is: the one write without an epoch. Kept with the run until it is let
   * go; of more than NOTES_MAX the oldest go. Nothing happens when there is no such run, or it is retired.
   * @param partition the run's home
   * @throws RangeError for a text beyond NOTE_MAX_BYTES
   */
  note(run: RunRef, partition: string, text: string): Promise<void>;
  /** The notes of a run, oldest first. */
  notes(run: RunRef): Promise<readonly string[]>;
  /**
   * Tells notes as they come, for runs of partitions opened here; the result ends that. Each at most once: one that comes
   * while the connection is broken is only in `notes` (and one of another process only there, with SQLite).
   */
  onNote(listener: NoteListener): () => void;

  /**
   * Tells that somebody else opened a partition that is open here, under a later epoch: what is written here for its runs
   * will be refused. At most once, like notes; the result ends that.
   */
  onTaken(listener: (by: Ownership) => void): () => void;

  /** Remembers for `ttlMs` that a run which does not exist is to be stopped. */
  markStopped(run: RunRef, ttlMs: number): Promise<void>;

  /** Idempotent. */
  close(): Promise<void>;
}

/** The store cannot be reached, or refuses writes at the moment; the same call may work later and is safe to repeat. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

/** What is stored where the run should be was not written by this engine, or is broken: somebody has to look at it. */
export class StoreDamaged extends Error {
  override readonly name = 'StoreDamaged';
}
