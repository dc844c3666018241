/** Where events go once they are committed: the contract between the run loop and a transport. */
import type { CommandOutcomeEvent } from '@flowops/proto/statuses.ts';
import type { RunRef } from '../store/run-store.ts';

export interface Publisher {
  /**
   * Sends status events of one run (JSON texts, in order). Resolves when all are acknowledged; calls for one run are
   * sent in the order of the calls. Waits while too much is waiting. Rejects only with PublisherClosed.
   * @param home the partition in whose owner's name they are sent; see `release`
   */
  publish(run: RunRef, events: readonly string[], home?: string): Promise<void>;
  /** Sends the answer to a command. Resolves when it is acknowledged; rejects only with PublisherClosed. */
  publishOutcome(event: CommandOutcomeEvent, home?: string): Promise<void>;
  /** These homes are lost: nothing more is sent in their name; what waits is rejected with PublisherClosed. */
  release(homes: readonly string[]): void;
  /** Gives up what was not acknowledged: it is in the outbox, for the next owner. Idempotent. */
  close(): Promise<void>;
}

/** The publisher was closed, or the home of the run was lost, before the events were acknowledged. */
export class PublisherClosed extends Error {
  override readonly name = 'PublisherClosed';

  constructor() {
    super('the publisher was closed, or the partition lost, before the events were acknowledged');
  }
}
