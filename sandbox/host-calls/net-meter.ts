/** What went over the network for one attempt, by destination: the host's own count, for the receipt. Bounded. */
import type { NetUse } from '@flowops/proto/receipt.ts';

/** Destinations told one by one in a receipt; the rest is summed up. */
const MAX_PLACES = 20;
const OTHER = 'other';

interface Sum {
  calls: number;
  bytesOut: number;
  bytesIn: number;
  ms: number;
}

/** One request to one place. */
export interface MeteredCall {
  /** With its head. */
  sent(bytes: number): void;
  /** With its head; the body after decompression. */
  received(bytes: number): void;
  /** Idempotent. */
  end(): void;
}

export class NetMeter {
  readonly #sums = new Map<string, Sum>();

  begin(place: string): MeteredCall {
    const sum = this.#sumOf(place);
    const startedAt = performance.now();
    let hasEnded = false;
    sum.calls++;
    return {
      sent: (bytes) => {
        sum.bytesOut += bytes;
      },
      received: (bytes) => {
        sum.bytesIn += bytes;
      },
      end: () => {
        if (!hasEnded) sum.ms += performance.now() - startedAt;
        hasEnded = true;
      },
    };
  }

  figures(): NetUse[] {
    return [...this.#sums].map(([host, sum]) => ({ host, ...sum, ms: Math.round(sum.ms * 1000) / 1000 }));
  }

  #sumOf(place: string): Sum {
    const key = this.#sums.has(place) || this.#sums.size < MAX_PLACES ? place : OTHER;
    const sum = this.#sums.get(key) ?? { calls: 0, bytesOut: 0, bytesIn: 0, ms: 0 };
    this.#sums.set(key, sum);
    return sum;
  }
}
