/**
 * Sends status events in transactions (KAFKA_PUBLISH_FENCE=transaction): one producer and one lane for each command
 * partition that is held. Its transactional id belongs to the partition, so the broker itself refuses what a former
 * owner still sends once the next one has begun.
 */

import { pause } from '../base/pause.ts';
import type { Log } from '../log.ts';
import { DeliveryLog } from './delivery-log.ts';
import { type GroupHearing, HomeProducer } from './home-producer.ts';
import type { KafkaClient } from './kafka-client.ts';
import { isTooLarge, logGivenUp, type PlacedRecord } from './produce-request.ts';
import { PublisherClosed } from './publisher.ts';
import { type OutgoingRecord, SendLane } from './send-lane.ts';
import type { TopicTarget } from './sender.ts';
import type { TopicPartitions } from './topic-partitions.ts';

export interface TransactionalSenderOptions {
  /** Its own: closed by `close`. */
  readonly client: KafkaClient;
  /** One for each deployment; the command partition is appended. */
  readonly idPrefix: string;
  readonly target: TopicTarget;
  readonly partitions: TopicPartitions;
  readonly standing: GroupHearing;
  readonly log: Log;
}

interface HomeLane {
  readonly producer: HomeProducer;
  readonly lane: SendLane<PlacedRecord>;
}

export class TransactionalSender {
  readonly #options: TransactionalSenderOptions;
  readonly #homes = new Map<string, HomeLane>();
  readonly #delivery: DeliveryLog;
  #isClosed = false;

  constructor(options: TransactionalSenderOptions) {
    this.#options = options;
    this.#delivery = new DeliveryLog(options.log);
  }

  /** The homes were gained: their former owners are fenced as soon as the brokers can be asked. */
  hold(homes: readonly string[]): void {
    if (this.#isClosed) return;
    for (const name of homes) {
      const home = this.#homes.get(name) ?? this.#make(name);
      this.#homes.set(name, home);
      home.producer.begin();
    }
  }

  /** Resolves when all are acknowledged and their transaction is committed. */
  async send(name: string, records: readonly OutgoingRecord[]): Promise<void> {
    const home = this.#homes.get(name);
    // Lost already: to make a producer for it now would end the new owner's.
    if (home === undefined) throw new PublisherClosed();
    const { topic } = this.#options.target;
    const { partitions } = this.#options;
    const placed = records.map((record) => ({ ...record, partition: partitions.partitionOf(topic, record.key) }));
    await home.lane.add(placed);
  }

  /** The homes are lost: what still waits in their name is rejected with PublisherClosed. */
  release(homes: ReadonlySet<string>): void {
    for (const name of homes) {
      const home = this.#homes.get(name);
      this.#homes.delete(name);
      home?.lane.close();
      void home?.producer.close();
      this.#delivery.forget(name);
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.client.shutDown();
    const homes = [...this.#homes.values()];
    this.#homes.clear();
    for (const { lane } of homes) lane.close();
    await Promise.all(homes.map(({ producer }) => producer.close()));
  }

  #make(name: string): HomeLane {
    const { client, idPrefix, target, standing, log } = this.#options;
    const { topic } = target;
    const producer = new HomeProducer({ client, transactionalId: `${idPrefix}-${name}`, topic, standing, log });
    const lane = new SendLane<PlacedRecord>({
      send: (records) => producer.send(records),
      judge: (thrown) => (isTooLarge(thrown) ? 'too-large' : 'try-again'),
      shrink: (record) => {
        const smaller = target.shrink(record);
        return smaller === undefined ? undefined : { ...smaller, partition: record.partition };
      },
      onFailure: (thrown) => {
        if (this.#homes.get(name)?.lane === lane) this.#delivery.failed(name, thrown);
      },
      onSuccess: () => this.#delivery.succeeded(name),
      onGivenUp: (record) => logGivenUp(log, topic, record),
      closed: () => new PublisherClosed(),
      standing,
      pause,
    });
    return { producer, lane };
  }
}
