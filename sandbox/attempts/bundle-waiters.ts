/** Attempts that wait for the bundle of a digest, each with its own time limit. Who is asked for it is not known here. */
import type { AttemptRecord } from './attempt-record.ts';

/** A bundle service that has not answered by then has its own error by now. */
const BUNDLE_WAIT_MS = 120_000;

export class BundleWaiters {
  readonly #onOverdue: (record: AttemptRecord, waitedMs: number) => void;
  readonly #waiting = new Map<string, Set<AttemptRecord>>();
  readonly #timers = new Map<AttemptRecord, NodeJS.Timeout>();

  /** @param onOverdue is told about an attempt that does not wait any more because it did so for too long. */
  constructor(onOverdue: (record: AttemptRecord, waitedMs: number) => void) {
    this.#onOverdue = onOverdue;
  }

  /** True when it is the first one for its digest. */
  add(record: AttemptRecord): boolean {
    const { digest } = record.invoke;
    const waiting = this.#waiting.get(digest) ?? new Set();
    waiting.add(record);
    this.#waiting.set(digest, waiting);
    const timer = setTimeout(() => {
      this.drop(record);
      this.#onOverdue(record, BUNDLE_WAIT_MS);
    }, BUNDLE_WAIT_MS);
    this.#timers.set(record, timer);
    return waiting.size === 1;
  }

  has(digest: string): boolean {
    return this.#waiting.has(digest);
  }

  /** Those that waited for it; they wait no longer. */
  take(digest: string): AttemptRecord[] {
    const records = [...(this.#waiting.get(digest) ?? [])];
    for (const record of records) this.drop(record);
    return records;
  }

  drop(record: AttemptRecord): void {
    const { digest } = record.invoke;
    const waiting = this.#waiting.get(digest);
    waiting?.delete(record);
    if (waiting?.size === 0) this.#waiting.delete(digest);
    clearTimeout(this.#timers.get(record));
    this.#timers.delete(record);
  }

  /** Idempotent. */
  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.clear();
  }
}
