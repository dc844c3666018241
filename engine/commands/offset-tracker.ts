/**
 * Which offset of one partition may be committed: the end of the gap-free prefix of commands that are finished, and were
 * so for as long as the store needs to have them on disk. Deterministic: times are given.
 *
 * Invariants: an offset is committable only when every offset read before it is finished, and `delayMs` have passed since
 * then and since the store was last in doubt; what `takeCommittable` gives never goes back.
 */
export class OffsetTracker {
  readonly #delayMs: number;
  /** In the order read. A finished head is removed only when it is given out. */
  readonly #entries: Entry[] = [];
  readonly #open = new Map<bigint, Entry>();
  #head = 0;
  #lastRead: bigint | undefined;
  #committed: bigint | undefined;

  /** @param delayMs how long after it was finished a command is on disk for sure */
  constructor(delayMs: number) {
    this.#delayMs = delayMs;
  }

  /** Commands that were read and are not finished. */
  get open(): number {
    return this.#open.size;
  }

  /** Commands that were read and not yet given out for committing. */
  get uncommitted(): number {
    return this.#entries.length - this.#head;
  }

  /** The highest offset read. */
  get lastRead(): bigint | undefined {
    return this.#lastRead;
  }

  /** The offset after the last one given out for committing. */
  get committed(): bigint | undefined {
    return this.#committed;
  }

  /** Offsets are read upwards; gaps (compaction, transaction markers) are fine. */
  read(offset: bigint): void {
    if (this.#lastRead !== undefined && offset <= this.#lastRead) {
      throw new RangeError(`offset ${offset} was read after ${this.#lastRead}`);
    }
    const entry: Entry = { offset, finishedAtMs: undefined };
    this.#entries.push(entry);
    this.#open.set(offset, entry);
    this.#lastRead = offset;
  }

  finish(offset: bigint, nowMs: number): void {
    const entry = this.#open.get(offset);
    if (entry === undefined) throw new RangeError(`offset ${offset} is not being worked on`);
    entry.finishedAtMs = nowMs;
    this.#open.delete(offset);
  }

  /**
   * The offset to commit (that of the next record to read), or undefined when nothing new may be committed.
   * @param sureSinceMs when the store was last in doubt
   */
  takeCommittable(nowMs: number, sureSinceMs = Number.NEGATIVE_INFINITY): bigint | undefined {
    if (sureSinceMs + this.#delayMs > nowMs) return undefined;
    let next: bigint | undefined;
    for (; this.#head < this.#entries.length; this.#head++) {
      const entry = this.#entries[this.#head];
      if (entry?.finishedAtMs === undefined || entry.finishedAtMs + this.#delayMs > nowMs) break;
      next = entry.offset + 1n;
    }
    this.#compact();
    if (next !== undefined) this.#committed = next;
    return next;
  }

  /** When the head of the prefix may be committed; undefined while it is not finished (or there is none). */
  nextDueMs(): number | undefined {
    const finishedAtMs = this.#entries[this.#head]?.finishedAtMs;
    return finishedAtMs === undefined ? undefined : finishedAtMs + this.#delayMs;
  }

  /** When all that is finished without a gap may be committed; undefined when that is nothing. */
  prefixDueMs(): number | undefined {
    let due: number | undefined;
    for (let i = this.#head; i < this.#entries.length; i++) {
      const finishedAtMs = this.#entries[i]?.finishedAtMs;
      if (finishedAtMs === undefined) break;
      due = Math.max(due ?? 0, finishedAtMs + this.#delayMs);
    }
    return due;
  }

  /** Amortised: the array is cut when half of it was given out. */
  #compact(): void {
    if (this.#head < 64 || this.#head * 2 < this.#entries.length) return;
    this.#entries.splice(0, this.#head);
    this.#head = 0;
  }
}

interface Entry {
  readonly offset: bigint;
  finishedAtMs: number | undefined;
}
