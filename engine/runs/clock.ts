/**
 * The engine's clock: the store's, measured at connect and every minute, so that times stored by one engine mean the
 * same to the next (design 4.5). Between measurements it runs on this machine's monotonic clock.
 */
import { performance } from 'node:perf_hooks';

const MEASURE_EVERY_MS = 60_000;

export interface Clock {
  /** Epoch ms. */
  nowMs(): number;
}

/** For what has no store: this machine's time when the process began, going on monotonically. */
export const machineClock: Clock = { nowMs: () => Math.round(performance.timeOrigin + performance.now()) };

export class StoreClock implements Clock {
  readonly #read: () => Promise<number>;
  #offsetMs: number;
  #timer: NodeJS.Timeout | undefined;

  private constructor(read: () => Promise<number>, offsetMs: number) {
    this.#read = read;
    this.#offsetMs = offsetMs;
  }

  /** @param read the store's clock. Rejects when the store cannot be read. */
  static async start(read: () => Promise<number>): Promise<StoreClock> {
    const clock = new StoreClock(read, 0);
    await clock.#measure();
    clock.#timer = setInterval(() => void clock.#measure().catch(() => undefined), MEASURE_EVERY_MS);
    clock.#timer.unref();
    return clock;
  }

  nowMs(): number {
    return Math.round(performance.now() + this.#offsetMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #measure(): Promise<void> {
    const before = performance.now();
    const storeMs = await this.#read();
    const after = performance.now();
    this.#offsetMs = storeMs - (before + after) / 2;
  }
}
