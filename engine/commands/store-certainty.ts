/**
 * Since when nothing that the store acknowledged can have been lost: what offsets wait for beside the store's delay
 * (design 4.3). A store that dies takes back its last moments; a command whose effect was among them must not have its
 * offset committed before its run was written again, or its engine was the only place that knew.
 */
import type { RunStore } from '../store/run-store.ts';

export interface StoreCertaintyOptions {
  readonly store: Pick<RunStore, 'state' | 'onDoubt' | 'durability' | 'clock'>;
  /** Has every run look at what the store holds of it, and write again what it lost. Resolves when that is done. */
  readonly verify: () => Promise<void>;
  /** Milliseconds; monotonic. */
  readonly now: () => number;
}

export class StoreCertainty {
  readonly #options: StoreCertaintyOptions;
  readonly #unsubscribe: () => void;
  /** Undefined while what was lost is being looked for. */
  #sinceMs: number | undefined = Number.NEGATIVE_INFINITY;
  #doubts = 0;

  constructor(options: StoreCertaintyOptions) {
    this.#options = options;
    this.#unsubscribe = options.store.onDoubt(() => void this.#doubt());
  }

  /** How long after it was acknowledged a write is on disk, as long as the store lives. */
  get delayMs(): number {
    return this.#options.store.durability.delayMs;
  }

  /** Undefined while it is not known. */
  get sinceMs(): number | undefined {
    return this.#options.store.state === 'up' ? this.#sinceMs : undefined;
  }

  /** Resolves with whether the store lives at this moment, and has since `sinceMs` was read: it is asked. */
  async isStill(sinceMs: number): Promise<boolean> {
    if (this.delayMs === 0) return true;
    try {
      await this.#options.store.clock();
    } catch {
      return false;
    }
    return this.sinceMs === sinceMs;
  }

  /** Idempotent. */
  close(): void {
    this.#unsubscribe();
  }

  async #doubt(): Promise<void> {
    const doubt = ++this.#doubts;
    this.#sinceMs = undefined;
    await this.#options.verify();
    // What is written again has to reach the disk too: the delay begins anew.
    if (doubt === this.#doubts) this.#sinceMs = this.#options.now();
  }
}
