/**
 * The transactional producer of one command partition, from the time it is held until it is lost.
 *
 * Invariants:
 *   H1. A producer begins when the partition is gained. After a failure the next one begins only when the group has
 *       answered a heartbeat that was sent after it: one that was fenced by a new owner does not fence it back.
 *   H2. A transaction that did not end well leaves its producer behind; the beginning of the next one aborts it.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import { Partitioners, type Producer, type RetryOptions } from 'kafkajs';
import type { Standing } from '../base/standing.ts';
import type { Log } from '../log.ts';
import { isRequestTimeout, type KafkaClient } from './kafka-client.ts';
import {
  isTooLarge,
  type PlacedRecord,
  PRODUCER_METADATA_MS,
  produceRequest,
  requireAnswers,
} from './produce-request.ts';

/** What an engine that died left open hides newer events from careful readers for at most this long. */
const TRANSACTION_TIMEOUT_MS = 15_000;
/**
 * Of the client that these producers are made with. The coordinator answers "concurrent transactions" for some
 * milliseconds after each commit. Repeating is safe inside a transaction: the broker knows each batch by its number.
 */
export const TRANSACTION_RETRY: RetryOptions = { retries: 9, initialRetryTime: 2, maxRetryTime: 250 };

export interface GroupHearing extends Standing {
  /** Resolves when a heartbeat was answered that was sent after this call, or when the signal aborts. */
  heardAnew(signal: AbortSignal): Promise<void>;
}

export interface HomeProducerOptions {
  /** Made with TRANSACTION_RETRY. */
  readonly client: KafkaClient;
  readonly transactionalId: string;
  readonly topic: string;
  readonly standing: GroupHearing;
  readonly log: Log;
}

export class HomeProducer {
  readonly #options: HomeProducerOptions;
  readonly #closing = new AbortController();
  #producer: Promise<Producer> | undefined;
  #hasFailed = false;

  constructor(options: HomeProducerOptions) {
    this.#options = options;
  }

  /** Takes the transactional id over, which ends whatever its former holder sends. What goes wrong, `send` tells. */
  begin(): void {
    this.#current().catch(() => undefined);
  }

  /** One transaction. Not called again before it settled. */
  async send(records: readonly PlacedRecord[]): Promise<void> {
    const { topic, client } = this.#options;
    const producer = await this.#current();
    try {
      const transaction = await producer.transaction();
      try {
        requireAnswers(await transaction.send(produceRequest(topic, records)), topic, records);
      } catch (thrown) {
        if (isTooLarge(thrown)) await transaction.abort();
        throw thrown;
      }
      await transaction.commit();
    } catch (thrown) {
      if (isRequestTimeout(thrown)) client.destroyConnections('a request got no answer in time');
      if (!isTooLarge(thrown)) await this.#giveUp();
      throw thrown;
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#giveUp();
  }

  #current(): Promise<Producer> {
    this.#producer ??= this.#open();
    return this.#producer;
  }

  async #open(): Promise<Producer> {
    const { client, transactionalId, standing } = this.#options;
    const { signal } = this.#closing;
    if (this.#hasFailed) await standing.heardAnew(signal);
    signal.throwIfAborted();
    const producer = client.kafka.producer({
      transactionalId,
      transactionTimeout: TRANSACTION_TIMEOUT_MS,
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
      metadataMaxAge: PRODUCER_METADATA_MS,
    });
    try {
      await producer.connect();
      // The id is taken over by the first transaction; an empty one sends nothing else.
      await (await producer.transaction()).abort();
      return producer;
    } catch (thrown) {
      this.#hasFailed = true;
      this.#producer = undefined;
      await this.#disconnect(producer);
      throw thrown;
    }
  }

  async #giveUp(): Promise<void> {
    const producer = this.#producer;
    this.#producer = undefined;
    this.#hasFailed = true;
    const open = await producer?.catch(() => undefined);
    if (open !== undefined) await this.#disconnect(open);
  }

  async #disconnect(producer: Producer): Promise<void> {
    await producer.disconnect().catch((thrown) => {
      this.#options.log.debug({ error: messageOf(thrown) }, 'a transactional producer did not disconnect in order');
    });
  }
}
