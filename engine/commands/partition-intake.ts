/**
 * The commands of one partition, from the assignment until it is lost: a bounded queue, a bounded number of commands
 * handed on at once, repetition of those that met broken infrastructure, and the tracker of what may be committed.
 *
 * Invariants:
 *   I1. Every record offered is handled, unless the assignment ends first; none is counted as finished before its
 *       handler resolved.
 *   I2. Records are handed on in offset order. After a failure nothing further is, until everything that failed was
 *       offered again, in offset order, and succeeded.
 *   I3. What was read twice because the group came together again is handed on once.
 */

import type { Pause } from '../base/pause.ts';
import { retryPauseMs } from '../publishing/retry-pause.ts';
import { OffsetTracker } from './offset-tracker.ts';

/** Handed on at once; enough to fill the store's pipeline, few enough to bound memory and redelivery. */
export const MAX_IN_FLIGHT = 256;
export const MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024;
/** Read ahead before the partition is paused; a fetch beside it lasts 500 ms at most, which this bridges. */
export const PAUSE_ABOVE_BYTES = 4 * 1024 * 1024;
export const RESUME_BELOW_BYTES = 1024 * 1024;
/** Finished or not, read and not yet committed: what a successor would read again. */
export const MAX_UNCOMMITTED = 20_000;
/** What a record costs beside its value. */
const RECORD_OVERHEAD_BYTES = 256;

export interface IntakeRecord {
  readonly offset: string;
  readonly value: Buffer | null;
}

export interface IntakeOptions<R extends IntakeRecord> {
  /** See OffsetTracker. */
  readonly delayMs: number;
  /** Looked at before each record is handed on; call `wake` when it may be true again. Default: always. */
  readonly mayHandOn?: () => boolean;
  /** Resolves when the record is done with; rejects when it has to be offered again. */
  readonly handle: (record: R) => Promise<void>;
  /** Something finished: there may be an offset to commit. */
  readonly onFinished: () => void;
  /** The queue has room again after `offer` answered `full`. */
  readonly onRoom: () => void;
  readonly onFailure: (thrown: unknown, record: R, failures: number) => void;
  /** Milliseconds; monotonic. */
  readonly now: () => number;
  readonly pause: Pause;
}

export class PartitionIntake<R extends IntakeRecord> {
  readonly #options: IntakeOptions<R>;
  readonly #now: () => number;
  readonly #pause: Pause;
  readonly #ending = new AbortController();
  readonly #idleWaiters: (() => void)[] = [];
  #tracker: OffsetTracker;
  /** What the broker has confirmed. */
  #confirmed: bigint | undefined;
  #firstRead: bigint | undefined;
  #queue: R[] = [];
  #queuedBytes = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  #failed: R[] = [];
  #isRetrying = false;
  #isOpen = false;
  #isStopped = false;
  #isFull = false;

  constructor(options: IntakeOptions<R>) {
    this.#options = options;
    this.#now = options.now;
    this.#pause = options.pause;
    this.#tracker = new OffsetTracker(options.delayMs);
  }

  get isEnded(): boolean {
    return this.#ending.signal.aborted;
  }

  /** Begins to hand on. */
  open(): void {
    this.#isOpen = true;
    this.#pump();
  }

  /** What held it back may be over. */
  wake(): void {
    this.#pump();
  }

  /** @returns `full`: offer nothing more until `onRoom` */
  offer(records: readonly R[]): 'more' | 'full' {
    if (this.isEnded || this.#isStopped) return 'more';
    for (const record of records) {
      const offset = BigInt(record.offset);
      if (this.#isKnown(offset)) continue;
      this.#firstRead ??= offset;
      this.#tracker.read(offset);
      this.#queue.push(record);
      this.#queuedBytes += sizeOf(record);
    }
    this.#pump();
    this.#isFull ||= this.#queuedBytes > PAUSE_ABOVE_BYTES;
    return this.#isFull ? 'full' : 'more';
  }

  /**
   * The offset to commit now; undefined when the broker has it already.
   * @param proof until when the store is known to have lived, and since when without a doubt; default: now, and ever
   */
  committable(proof: { readonly atMs?: number; readonly sinceMs?: number } = {}): bigint | undefined {
    this.#tracker.takeCommittable(proof.atMs ?? this.#now(), proof.sinceMs);
    // The bound on what is uncommitted may have held the queue back.
    this.#pump();
    const { committed } = this.#tracker;
    return committed === this.#confirmed ? undefined : committed;
  }

  /** The broker has taken the offset. */
  confirm(offset: bigint): void {
    this.#confirmed = offset;
  }

  /** When the next offset becomes committable; undefined while nothing waits for its time. */
  nextDueMs(): number | undefined {
    const { committed } = this.#tracker;
    return committed !== this.#confirmed ? this.#now() : this.#tracker.nextDueMs();
  }

  /** When everything finished without a gap may be committed. */
  prefixDueMs(): number | undefined {
    return this.#tracker.prefixDueMs();
  }

  /** Hands on nothing more; what is in flight goes on and counts. */
  stop(): void {
    this.#isStopped = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#failed = [];
  }

  /** The partition is lost: nothing of it is handed on or committed any more. */
  end(): void {
    this.stop();
    this.#ending.abort();
  }

  /** Resolves when nothing is in flight. */
  idle(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /**
   * Read before, and still ours (I3). An offset from before the first one read, or from before what the broker has
   * confirmed, is no repetition: the topic was made anew, or the reading began too late. Then all is read again.
   */
  #isKnown(offset: bigint): boolean {
    const { lastRead } = this.#tracker;
    if (lastRead === undefined || offset > lastRead) return false;
    const isBefore = (other: bigint | undefined) => other !== undefined && offset < other;
    if (!isBefore(this.#firstRead) && !isBefore(this.#confirmed)) return true;
    this.#tracker = new OffsetTracker(this.#options.delayMs);
    this.#confirmed = undefined;
    this.#firstRead = undefined;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#failed = [];
    return false;
  }

  #pump(): void {
    if (!this.#isOpen || this.#isStopped || this.#isRetrying) return;
    while (this.#queue.length > 0 && this.#hasRoomInFlight() && this.#mayHandOn()) {
      const record = this.#queue.shift();
      if (record === undefined) break;
      this.#queuedBytes -= sizeOf(record);
      void this.#handOn(record);
    }
    if (!this.#isFull || this.#queuedBytes > RESUME_BELOW_BYTES) return;
    this.#isFull = false;
    this.#options.onRoom();
  }

  #mayHandOn(): boolean {
    return this.#options.mayHandOn?.() ?? true;
  }

  #hasRoomInFlight(): boolean {
    return (
      this.#inFlight < MAX_IN_FLIGHT &&
      this.#inFlightBytes < MAX_IN_FLIGHT_BYTES &&
      this.#tracker.uncommitted - this.#queue.length < MAX_UNCOMMITTED
    );
  }

  async #handOn(record: R): Promise<void> {
    const tracker = this.#tracker;
    this.#inFlight++;
    this.#inFlightBytes += sizeOf(record);
    try {
      await this.#options.handle(record);
      tracker.finish(BigInt(record.offset), this.#now());
      if (!this.isEnded && tracker === this.#tracker) this.#options.onFinished();
    } catch (thrown) {
      if (!this.#isStopped && tracker === this.#tracker) this.#fail(thrown, record);
    } finally {
      this.#inFlight--;
      this.#inFlightBytes -= sizeOf(record);
      if (this.#inFlight === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
      this.#pump();
    }
  }

  #fail(thrown: unknown, record: R): void {
    this.#failed.push(record);
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    void this.#retry(thrown, record);
  }

  /** Rounds of all that failed, in offset order, until a round leaves nothing behind. */
  async #retry(thrown: unknown, record: R): Promise<void> {
    for (let failures = 1; this.#failed.length > 0 && !this.#isStopped; failures++) {
      this.#options.onFailure(thrown, record, failures);
      await this.#pause(retryPauseMs(failures), this.#ending.signal);
      if (!this.#mayHandOn()) continue;
      const again = this.#failed.sort((a, b) => (BigInt(a.offset) < BigInt(b.offset) ? -1 : 1));
      this.#failed = [];
      if (!this.#isStopped) await Promise.all(again.map((failed) => this.#handOn(failed)));
    }
    this.#isRetrying = false;
    this.#pump();
  }
}

function sizeOf(record: IntakeRecord): number {
  return RECORD_OVERHEAD_BYTES + (record.value?.length ?? 0);
}
