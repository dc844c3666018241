/**
 * Sends the outbox of one run in order and knows how far it got. Positions count outbox entries from 1, as the store
 * does; an entry may be sent again (after a crash), never left out (G3).
 */
import type { CommandOutcomeEvent } from '@flowops/proto/statuses.ts';
import type { Publisher } from '../publishing/publisher.ts';
import type { RunRef } from '../store/run-store.ts';
import { isOutcomeEntry } from './codec.ts';

export interface OutboxSenderOptions {
  readonly run: RunRef;
  /** The partition in whose owner's name the entries are sent. */
  readonly home: string;
  readonly publisher: Publisher;
  /** Position of the first entry that the store still holds. */
  readonly head: number;
  /** Everything handed in so far was sent. */
  readonly onSent: () => void;
}

export class OutboxSender {
  readonly #run: RunRef;
  readonly #home: string;
  readonly #publisher: Publisher;
  readonly #onSent: () => void;
  /** Position of the last entry handed in. */
  #position: number;
  #sent: number;
  #acknowledged: number;
  #tail: Promise<unknown> = Promise.resolve();

  constructor({ run, home, publisher, head, onSent }: OutboxSenderOptions) {
    this.#run = run;
    this.#home = home;
    this.#publisher = publisher;
    this.#onSent = onSent;
    this.#position = head - 1;
    this.#sent = head - 1;
    this.#acknowledged = head - 1;
  }

  /** Whether every entry handed in was sent. */
  get isEmpty(): boolean {
    return this.#sent === this.#position;
  }

  /** The position to tell the store as acknowledged with the next commit; undefined when it knows already. */
  takeAcknowledgement(): number | undefined {
    if (this.#sent === this.#acknowledged) return undefined;
    this.#acknowledged = this.#sent;
    return this.#sent;
  }

  get hasAcknowledgement(): boolean {
    return this.#sent > this.#acknowledged;
  }

  /** Sends entries that are durable. Never rejects; a publisher that was closed leaves them in the outbox. */
  send(entries: readonly string[]): void {
    if (entries.length === 0) return;
    this.#position += entries.length;
    const upTo = this.#position;
    const statuses = entries.filter((entry) => !isOutcomeEntry(entry));
    const outcomes = statuses.length === entries.length ? [] : entries.filter(isOutcomeEntry);
    const sending = outcomes.map((entry) => this.#publisher.publishOutcome(readOutcome(entry), this.#home));
    if (statuses.length > 0) sending.push(this.#publisher.publish(this.#run, statuses, this.#home));
    // Chained, so that a position counts as sent only when all before it are: outcomes have a topic of their own.
    this.#tail = Promise.all([this.#tail, ...sending]);
    this.#tail.then(
      () => this.#markSent(upTo),
      () => undefined,
    );
  }

  #markSent(upTo: number): void {
    this.#sent = Math.max(this.#sent, upTo);
    if (this.isEmpty) this.#onSent();
  }
}

function readOutcome(entry: string): CommandOutcomeEvent {
  return JSON.parse(entry) as CommandOutcomeEvent; // written by outcomeEvent() and only passed on
}
