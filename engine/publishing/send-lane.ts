/**
 * One partition's queue of records to send: one request in flight, what arrives meanwhile goes into the next, and a
 * batch that failed is repeated as it was until it is acknowledged or the lane is closed.
 *
 * Invariants:
 *   L1. Records are acknowledged in the order they were added; nothing overtakes a failed batch.
 *   L2. At most MAX_WAITING_BYTES and MAX_WAITING_RECORDS wait, plus the one call that crossed the line; further calls
 *       wait in their order.
 *   L3. A record that no request can carry is replaced by what `shrink` makes of it, or given up with an error in the
 *       log: it never blocks those behind it.
 */
import type { Pause } from '../runs/pause.ts';
import { retryPauseMs } from './retry-pause.ts';

/** A request below the brokers' default limit of 1 MiB, also with headers and framing. */
export const MAX_BATCH_BYTES = 768 * 1024;
export const MAX_BATCH_RECORDS = 1000;
/** Per partition: some seconds of a busy engine, a small part of its memory. */
export const MAX_WAITING_BYTES = 8 * 1024 * 1024;
export const MAX_WAITING_RECORDS = 10_000;
/** What a record costs beside its texts in a batch. */
const RECORD_OVERHEAD_BYTES = 64;

export interface OutgoingRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>;
}

export type SendFailure =
  /** The request is larger than the broker takes. */
  'too-large' | 'try-again';

export interface LaneOptions {
  /** Sends one request and resolves when it is acknowledged. */
  readonly send: (records: readonly OutgoingRecord[]) => Promise<void>;
  readonly judge: (thrown: unknown) => SendFailure;
  /** A record in its place that is smaller, or undefined when there is none. */
  readonly shrink: (record: OutgoingRecord) => OutgoingRecord | undefined;
  readonly onFailure: (thrown: unknown, failures: number) => void;
  readonly onSuccess: () => void;
  readonly onGivenUp: (record: OutgoingRecord) => void;
  /** What waiting calls are rejected with when the lane closes. */
  readonly closed: () => Error;
  readonly pause: Pause;
}

interface Entry {
  record: OutgoingRecord;
  /** Called once, when this record's call has its last record acknowledged. */
  readonly settle: ((failed?: Error) => void) | undefined;
}

export class SendLane {
  readonly #options: LaneOptions;
  readonly #waiting: Entry[] = [];
  readonly #admission: { start: () => void; fail: (error: Error) => void }[] = [];
  readonly #closing = new AbortController();
  #waitingBytes = 0;
  #isPumping = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Resolves when all records are acknowledged (or given up). Rejects when the lane closes before. */
  async add(records: readonly OutgoingRecord[]): Promise<void> {
    if (records.length === 0) return;
    if (this.#closing.signal.aborted) throw this.#options.closed();
    if (this.#isFull() || this.#admission.length > 0) {
      await new Promise<void>((start, fail) => this.#admission.push({ start, fail }));
    }
    await new Promise<void>((resolve, reject) => {
      const settle = (failed?: Error) => (failed === undefined ? resolve() : reject(failed));
      for (const [index, record] of records.entries()) {
        this.#waiting.push({ record, settle: index === records.length - 1 ? settle : undefined });
        this.#waitingBytes += recordBytes(record);
      }
      void this.#pump();
    });
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    for (const { fail } of this.#admission.splice(0)) fail(this.#options.closed());
    for (const { settle } of this.#waiting.splice(0)) settle?.(this.#options.closed());
    this.#waitingBytes = 0;
  }

  #isFull(): boolean {
    return this.#waitingBytes >= MAX_WAITING_BYTES || this.#waiting.length >= MAX_WAITING_RECORDS;
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    // Everything that is published within this turn of the event loop goes into the first request.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      await this.#deliver(batch);
      while (!this.#isFull()) {
        const next = this.#admission.shift();
        if (next === undefined) break;
        next.start();
        await Promise.resolve();
      }
    }
    this.#isPumping = false;
  }

  /** As much from the front as one request carries; at least one record. */
  #takeBatch(): Entry[] {
    let bytes = 0;
    let count = 0;
    for (const { record } of this.#waiting) {
      bytes += recordBytes(record);
      if (count > 0 && (bytes > MAX_BATCH_BYTES || count >= MAX_BATCH_RECORDS)) break;
      count++;
    }
    const batch = this.#waiting.splice(0, count);
    for (const { record } of batch) this.#waitingBytes -= recordBytes(record);
    return batch;
  }

  /** Returns when every record of the batch is settled. */
  async #deliver(batch: Entry[]): Promise<void> {
    const { send, judge, onFailure, onSuccess, closed, pause } = this.#options;
    const signal = this.#closing.signal;
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        await send(batch.map(({ record }) => record));
        onSuccess();
        for (const { settle } of batch) settle?.();
        return;
      } catch (thrown) {
        if (judge(thrown) === 'too-large') return await this.#deliverSmaller(batch);
        onFailure(thrown, failures);
        await pause(retryPauseMs(failures), signal);
      }
    }
    for (const { settle } of batch) settle?.(closed());
  }

  /** Halves the batch until the record that is too large stands alone; that one is shrunk or given up (L3). */
  async #deliverSmaller(batch: Entry[]): Promise<void> {
    const [first] = batch;
    if (first === undefined) return;
    if (batch.length > 1) {
      const middle = Math.ceil(batch.length / 2);
      await this.#deliver(batch.slice(0, middle));
      await this.#deliver(batch.slice(middle));
      return;
    }
    const smaller = this.#options.shrink(first.record);
    if (smaller === undefined || recordBytes(smaller) >= recordBytes(first.record)) {
      this.#options.onGivenUp(first.record);
      first.settle?.();
      return;
    }
    await this.#deliver([{ ...first, record: smaller }]);
  }
}

export function recordBytes({ key, value, headers }: OutgoingRecord): number {
  let bytes = RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of Object.entries(headers ?? {})) {
    for (const part of Array.isArray(content) ? content : [content]) bytes += name.length + (part?.length ?? 0);
  }
  return bytes;
}
