/** Where events go once they are committed: the contract between the run loop and a transport. */
import type { CommandOutcomeEvent } from '@flowops/proto/statuses.ts';
import type { RunRef } from '../store/run-store.ts';

export interface Publisher {
  /**
   * Sends status events of one run (JSON texts, in order). Resolves when all are acknowledged; calls for one run are
   * sent in the order of the calls. Waits while too much is waiting. Rejects only with PublisherClosed.
   */
  publish(run: RunRef, events: readonly string[]): Promise<void>;
  /** Sends the answer to a command. Resolves when it is acknowledged; rejects only with PublisherClosed. */
  publishOutcome(event: CommandOutcomeEvent): Promise<void>;
  /** Gives up what was not acknowledged: it is in the outbox, for the next owner. Idempotent. */
  close(): Promise<void>;
}

/** The publisher was closed before the events were acknowledged. */
export class PublisherClosed extends Error {
  override readonly name = 'PublisherClosed';

  constructor() {
    super('the publisher was closed before the events were acknowledged');
  }
}
