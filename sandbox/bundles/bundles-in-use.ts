/**
 * The bundles that attempts run or wait with, each counted once. They stay in memory with their attempts, also when the
 * store has long let go of them: this bounds how many bytes that can be.
 */
import type { StoredBundle } from './bundle-store.ts';

/** Sixteen of the largest size, hundreds of usual ones. */
const MAX_BYTES_IN_USE = 256 * 1024 * 1024;

export class BundlesInUse {
  readonly #maxBytes: number;
  readonly #uses = new Map<string, number>();
  #bytes = 0;

  constructor(maxBytes: number = MAX_BYTES_IN_USE) {
    this.#maxBytes = maxBytes;
  }

  /** False when it is too much beside the others. A bundle alone is never. */
  take({ digest, bytes }: StoredBundle): boolean {
    const uses = this.#uses.get(digest) ?? 0;
    if (uses === 0 && this.#uses.size > 0 && this.#bytes + bytes.length > this.#maxBytes) return false;
    if (uses === 0) this.#bytes += bytes.length;
    this.#uses.set(digest, uses + 1);
    return true;
  }

  /** Once for each `take` that was true. */
  release({ digest, bytes }: StoredBundle): void {
    const uses = this.#uses.get(digest) ?? 0;
    if (uses > 1) this.#uses.set(digest, uses - 1);
    else if (this.#uses.delete(digest)) this.#bytes -= bytes.length;
  }
}
