/**
 * The engine's clock: the store's, measured at connect and every minute, so that times stored by one engine mean the
 * same to the next (design 4.5). Between measurements it runs on this machine's monotonic clock.
 */
import { performance } from 'node:perf_hooks';

const MEASURE_EVERY_MS = 60_000;
/** A measurement is off by up to half of its round trip: one that met a store that hangs is worth nothing. */
const MAX_ROUND_TRIP_MS = 200;
/** At start: a store that is always slower than that is measured by the best of them. */
const FIRST_TRIES = 3;

export interface Clock {
  /** Epoch ms. */
  nowMs(): number;
}

/** For what has no store: this machine's time when the process began, going on monotonically. */
export const machineClock: Clock = { nowMs: () => Math.round(performance.timeOrigin + performance.now()) };

export class StoreClock implements Clock {
  readonly #read: () => Promise<number>;
  #offsetMs = 0;
  #timer: NodeJS.Timeout | undefined;

  private constructor(read: () => Promise<number>) {
    this.#read = read;
  }

  /** @param read the store's clock. Rejects when the store cannot be read. */
  static async start(read: () => Promise<number>): Promise<StoreClock> {
    const clock = new StoreClock(read);
    let best = await clock.#measure();
    for (let tries = 1; tries < FIRST_TRIES && best.roundTripMs > MAX_ROUND_TRIP_MS; tries++) {
      const next = await clock.#measure();
      if (next.roundTripMs < best.roundTripMs) best = next;
    }
    clock.#offsetMs = best.offsetMs;
    const acceptedMs = Math.max(MAX_ROUND_TRIP_MS, best.roundTripMs);
    const again = async () => {
      const { offsetMs, roundTripMs } = await clock.#measure();
      if (roundTripMs <= acceptedMs) clock.#offsetMs = offsetMs;
    };
    clock.#timer = setInterval(() => void again().catch(() => undefined), MEASURE_EVERY_MS);
    clock.#timer.unref();
    return clock;
  }

  nowMs(): number {
    return Math.round(performance.now() + this.#offsetMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #measure(): Promise<{ offsetMs: number; roundTripMs: number }> {
    const before = performance.now();
    const storeMs = await this.#read();
    const after = performance.now();
    return { offsetMs: storeMs - (before + after) / 2, roundTripMs: after - before };
  }
}
