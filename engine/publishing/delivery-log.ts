/** Tells once when Kafka does not take what is sent, and once when all of it goes out again; reminds in between. */
import type { Log } from '../log.ts';
import { clientErrorText } from './kafka-client.ts';

/** Errors of this kind do not go away by themselves; they are told again this often. */
const REMIND_MS = 60_000;

export class DeliveryLog {
  readonly #log: Log;
  /** lane → when its failure was told. */
  readonly #failing = new Map<string, number>();

  constructor(log: Log) {
    this.#log = log;
  }

  failed(lane: string, thrown: unknown): void {
    const toldAtMs = this.#failing.get(lane);
    const nowMs = performance.now();
    if (toldAtMs !== undefined && nowMs - toldAtMs < REMIND_MS) return;
    const isFirst = this.#failing.size === 0 || toldAtMs !== undefined;
    this.#failing.set(lane, nowMs);
    if (!isFirst) return;
    this.#log.warn({ lane, error: clientErrorText(thrown) }, 'Kafka does not take events; trying again until it does');
  }

  succeeded(lane: string): void {
    if (this.#failing.delete(lane) && this.#failing.size === 0) this.#log.info({}, 'Kafka takes events again');
  }

  /** The lane is gone: nothing of it waits any more. */
  forget(lane: string): void {
    this.#failing.delete(lane);
  }
}
