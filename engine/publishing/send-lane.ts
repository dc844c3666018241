/**
 * One queue of records to send in order: one request in flight, what arrives meanwhile goes into the next, and a
 * batch that failed is repeated as it was until it is acknowledged, its owner is gone, or the lane is closed.
 *
 * Invariants:
 *   L1. Records are acknowledged in the order they were added; nothing overtakes a failed batch.
 *   L2. At most MAX_WAITING_BYTES and MAX_WAITING_RECORDS wait, plus the one call that crossed the line; further calls
 *       wait in their order.
 *   L3. A record that no request can carry is replaced by what `shrink` makes of it, or given up with an error in the
 *       log: it never blocks those behind it.
 *   L4. No request begins while the engine's standing is not good; it is looked at before each one.
 *   L5. After `drop`, no request begins that carries a record of those homes.
 */
import type { Pause } from '../base/pause.ts';
import { type Standing, untilGood } from '../base/standing.ts';
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
  /** Epoch ms, decimal digits. Default: the time of sending. */
  readonly timestamp?: string;
}

export type SendFailure =
  /** The request is larger than the broker takes. */
  'too-large' | 'try-again';

/** `given-up`: at least one record was (L3). */
export type SendResult = 'sent' | 'given-up';

export interface LaneOptions<R extends OutgoingRecord> {
  /** Sends one request and resolves when it is acknowledged. */
  readonly send: (records: readonly R[]) => Promise<void>;
  readonly judge: (thrown: unknown) => SendFailure;
  /** A record in its place that is smaller, or undefined when there is none. */
  readonly shrink: (record: R) => R | undefined;
  readonly onFailure: (thrown: unknown, failures: number) => void;
  readonly onSuccess: () => void;
  readonly onGivenUp: (record: R) => void;
  /** What waiting calls are rejected with when the lane closes, or their home is dropped. */
  readonly closed: () => Error;
  readonly standing: Standing;
  readonly pause: Pause;
}

/** What was given to one `add`. */
interface Call<R> {
  readonly records: readonly R[];
  readonly home: string | undefined;
  isGivenUp: boolean;
  /** Its home was dropped, or the lane closed: its caller knows. */
  isOver: boolean;
  readonly resolve: (result: SendResult) => void;
  readonly reject: (error: Error) => void;
}

interface Entry<R> {
  record: R;
  readonly call: Call<R>;
  readonly isLast: boolean;
}

export class SendLane<R extends OutgoingRecord = OutgoingRecord> {
  readonly #options: LaneOptions<R>;
  #waiting: Entry<R>[] = [];
  /** Calls for which there is no room yet. */
  #admission: Call<R>[] = [];
  /** Calls of which something is in the present batch. */
  #delivering: readonly Entry<R>[] = [];
  readonly #closing = new AbortController();
  #waitingBytes = 0;
  #isPumping = false;

  constructor(options: LaneOptions<R>) {
    this.#options = options;
  }

  /**
   * Resolves when all records are acknowledged (or given up). Rejects when the lane closes or drops them before.
   * @param home the command partition whose owner these records speak for
   */
  add(records: readonly R[], home?: string): Promise<SendResult> {
    if (records.length === 0) return Promise.resolve('sent');
    if (this.#closing.signal.aborted) return Promise.reject(this.#options.closed());
    const { promise, resolve, reject } = Promise.withResolvers<SendResult>();
    const call: Call<R> = { records, home, isGivenUp: false, isOver: false, resolve, reject };
    if (this.#isFull() || this.#admission.length > 0) this.#admission.push(call);
    else this.#enqueue(call);
    return promise;
  }

  /** Gives up what was not acknowledged and speaks for one of these homes. A request under way is not called back. */
  drop(homes: ReadonlySet<string>): void {
    const isLost = (call: Call<R>) => call.home !== undefined && homes.has(call.home);
    for (const { call } of this.#delivering) if (isLost(call)) this.#reject(call);
    for (const { call } of this.#waiting) if (isLost(call)) this.#reject(call);
    for (const call of this.#admission) if (isLost(call)) this.#reject(call);
    this.#waiting = this.#waiting.filter(({ call }) => !call.isOver);
    this.#waitingBytes = this.#waiting.reduce((sum, { record }) => sum + recordBytes(record), 0);
    this.#admission = this.#admission.filter((call) => !call.isOver);
    this.#admit();
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    for (const call of this.#admission.splice(0)) this.#reject(call);
    for (const { call } of this.#waiting.splice(0)) this.#reject(call);
    this.#waitingBytes = 0;
  }

  #reject(call: Call<R>): void {
    if (call.isOver) return;
    call.isOver = true;
    call.reject(this.#options.closed());
  }

  #enqueue(call: Call<R>): void {
    for (const [index, record] of call.records.entries()) {
      this.#waiting.push({ record, call, isLast: index === call.records.length - 1 });
      this.#waitingBytes += recordBytes(record);
    }
    void this.#pump();
  }

  #admit(): void {
    while (!this.#isFull()) {
      const next = this.#admission.shift();
      if (next === undefined) return;
      this.#enqueue(next);
    }
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
      this.#delivering = this.#takeBatch();
      await this.#deliver(this.#delivering);
      this.#delivering = [];
      this.#admit();
    }
    this.#isPumping = false;
  }

  /** As much from the front as one request carries; at least one record. */
  #takeBatch(): Entry<R>[] {
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
  async #deliver(batch: readonly Entry<R>[]): Promise<void> {
    const { send, judge, onFailure, onSuccess, standing, pause } = this.#options;
    const { signal } = this.#closing;
    for (let failures = 1; ; failures++) {
      if (!standing.isGood) await untilGood(standing, signal);
      if (signal.aborted) break;
      const due = batch.filter(({ call }) => !call.isOver);
      if (due.length === 0) return;
      try {
        await send(due.map(({ record }) => record));
        onSuccess();
        for (const entry of due) this.#settle(entry);
        return;
      } catch (thrown) {
        if (judge(thrown) === 'too-large') return await this.#deliverSmaller(due);
        onFailure(thrown, failures);
        await pause(retryPauseMs(failures), signal);
      }
    }
    for (const { call } of batch) this.#reject(call);
  }

  /** Halves the batch until the record that is too large stands alone; that one is shrunk or given up (L3). */
  async #deliverSmaller(batch: readonly Entry<R>[]): Promise<void> {
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
      first.call.isGivenUp = true;
      this.#settle(first);
      return;
    }
    await this.#deliver([{ ...first, record: smaller }]);
  }

  #settle({ call, isLast }: Entry<R>): void {
    if (!isLast || call.isOver) return;
    call.isOver = true;
    call.resolve(call.isGivenUp ? 'given-up' : 'sent');
  }
}

export function recordBytes({ key, value, headers }: OutgoingRecord): number {
  let bytes = RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of Object.entries(headers ?? {})) {
    for (const part of Array.isArray(content) ? content : [content]) bytes += name.length + (part?.length ?? 0);
  }
  return bytes;
}
