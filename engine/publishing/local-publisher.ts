/**
 * The in-process transport of an embedded engine: hands events to subscribers in the order they are published. A
 * subscriber is called at once and must not block; one that throws is told to the log and hurts nobody else.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import type { CommandOutcomeEvent } from '@flowops/proto/statuses.ts';
import type { Log } from '../log.ts';
import type { RunRef } from '../store/run-store.ts';
import { type Publisher, PublisherClosed } from './publisher.ts';

export interface LocalSubscriber {
  /** Status events of one run, JSON texts. */
  readonly onEvents?: (run: RunRef, events: readonly string[]) => void;
  readonly onOutcome?: (event: CommandOutcomeEvent) => void;
}

export class LocalPublisher implements Publisher {
  readonly #log: Log;
  readonly #subscribers = new Set<LocalSubscriber>();
  #isClosed = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @returns ends the subscription */
  subscribe(subscriber: LocalSubscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  async publish(run: RunRef, events: readonly string[]): Promise<void> {
    if (events.length > 0) this.#tell((subscriber) => subscriber.onEvents?.(run, events));
  }

  async publishOutcome(event: CommandOutcomeEvent): Promise<void> {
    this.#tell((subscriber) => subscriber.onOutcome?.(event));
  }

  /** Nothing waits here. */
  release(): void {}

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#subscribers.clear();
  }

  #tell(call: (subscriber: LocalSubscriber) => void): void {
    if (this.#isClosed) throw new PublisherClosed();
    for (const subscriber of [...this.#subscribers]) {
      try {
        call(subscriber);
      } catch (thrown) {
        this.#log.error({ error: messageOf(thrown) }, 'a subscriber of run events failed');
      }
    }
  }
}
