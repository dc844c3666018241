/** The bytes of one attempt's network traffic: how many in all, and how many are held in memory at one moment. */

export type Spent = 'fine' | 'too-much-at-once' | 'used-up';

export class ByteBudget {
  readonly #maxHeldBytes: number;
  #leftBytes: number;
  #heldBytes = 0;

  constructor(limits: { readonly maxTotalBytes: number; readonly maxHeldBytes: number }) {
    this.#leftBytes = limits.maxTotalBytes;
    this.#maxHeldBytes = limits.maxHeldBytes;
  }

  /** Bytes that pass through. */
  spend(bytes: number): Spent {
    this.#leftBytes -= bytes;
    return this.#leftBytes < 0 ? 'used-up' : 'fine';
  }

  /** Bytes that are kept until `release`. They count as held whatever the answer is. */
  hold(bytes: number): Spent {
    this.#heldBytes += bytes;
    if (this.spend(bytes) === 'used-up') return 'used-up';
    return this.#heldBytes > this.#maxHeldBytes ? 'too-much-at-once' : 'fine';
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}
