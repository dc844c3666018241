/** Bytes that many runs hold at the same time, bounded over all of them (G10). */

/**
 * Outputs that came from sandbox hosts and are not committed yet: many steps' worth, a part of a small machine's memory.
 * They pile up only while the store is away, or when a host sends what no policy of ours allows.
 */
export const MAX_HELD_RESULT_BYTES = 128 * 1024 * 1024;
/** Commits kept to be written again to a store that lost its last moments: the seconds that it may lose. */
export const MAX_KEPT_COMMIT_BYTES = 128 * 1024 * 1024;

export class ByteBudget {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False, and nothing taken, when there is no room. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes) return false;
    this.#bytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#bytes -= bytes;
  }
}
