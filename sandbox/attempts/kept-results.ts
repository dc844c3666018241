/**
 * How long results are kept that nobody acknowledged, and how many: the oldest goes first. Holds sizes and timers only;
 * the results are with their records.
 */

/** Longer than any hand-over of a run takes; who has not asked by then will not. */
const KEEP_RESULT_MS = 3_600_000;
const MAX_KEPT_RESULTS = 1_000;
/** Twice what one connection may have under way: outputs come on top of what was looked at when a step was taken. */
const MAX_KEPT_BYTES = 256 * 1024 * 1024;

interface Kept {
  readonly bytes: number;
  readonly timer: NodeJS.Timeout;
}

export class KeptResults {
  readonly #forget: (key: string) => void;
  readonly #maxResults: number;
  readonly #maxBytes: number;
  /** In order of their end. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  /** @param forget is told which one is kept no longer, unless it was taken with `delete`. */
  constructor(forget: (key: string) => void, bounds: { maxResults?: number; maxBytes?: number } = {}) {
    this.#forget = forget;
    this.#maxResults = bounds.maxResults ?? MAX_KEPT_RESULTS;
    this.#maxBytes = bounds.maxBytes ?? MAX_KEPT_BYTES;
  }

  /** The newest is kept whatever its size. */
  add(key: string, bytes: number): void {
    this.delete(key);
    this.#kept.set(key, { bytes, timer: setTimeout(() => this.#drop(key), KEEP_RESULT_MS) });
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (oldest === key || (this.#kept.size <= this.#maxResults && this.#bytes <= this.#maxBytes)) return;
      this.#drop(oldest);
    }
  }

  delete(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    clearTimeout(kept.timer);
    this.#kept.delete(key);
    this.#bytes -= kept.bytes;
  }

  /** Idempotent. */
  close(): void {
    for (const { timer } of this.#kept.values()) clearTimeout(timer);
    this.#kept.clear();
    this.#bytes = 0;
  }

  #drop(key: string): void {
    this.delete(key);
    this.#forget(key);
  }
}
