/**
 * Sends records to Kafka, acknowledged by all in-sync replicas: one producer, one lane per partition. Tells once when
 * Kafka is lost and once when it is back.
 *
 * Invariant: what waits under one key waits in one lane, also while the topic gets more partitions, so that its order
 * holds.
 */
import { Partitioners, type Producer } from 'kafkajs';
import { pause } from '../base/pause.ts';
import type { Standing } from '../base/standing.ts';
import type { Log } from '../log.ts';
import { DeliveryLog } from './delivery-log.ts';
import { isRequestTimeout, type KafkaClient } from './kafka-client.ts';
import { isTooLarge, logGivenUp, PRODUCER_METADATA_MS, produceRequest, requireAnswers } from './produce-request.ts';
import { PublisherClosed } from './publisher.ts';
import { type OutgoingRecord, SendLane, type SendResult } from './send-lane.ts';
import type { Sender, SendTerms, TopicTarget } from './sender.ts';
import { TopicPartitions } from './topic-partitions.ts';

export interface RecordSenderOptions {
  readonly client: KafkaClient;
  /** All that records are sent to. */
  readonly topics: readonly string[];
  /** See TopicPartitions. */
  readonly lookEveryMs: number;
  readonly standing: Standing;
  readonly log: Log;
}

export class RecordSender implements Sender {
  readonly partitions: TopicPartitions;
  readonly #client: KafkaClient;
  readonly #producer: Producer;
  readonly #standing: Standing;
  readonly #log: Log;
  readonly #delivery: DeliveryLog;
  readonly #lanes = new Map<string, SendLane>();
  /** topic and key → the lane that holds something of it, and how many calls. */
  readonly #pins = new Map<string, { readonly partition: number; calls: number }>();
  #isClosed = false;

  /** @throws what the client throws when the brokers cannot be reached */
  static async open(options: RecordSenderOptions): Promise<RecordSender> {
    const { client, topics, lookEveryMs, log } = options;
    const partitions = await TopicPartitions.open({ client, topics, lookEveryMs, log, pause });
    const producer = client.kafka.producer({
      idempotent: false,
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
      metadataMaxAge: PRODUCER_METADATA_MS,
      retry: { retries: 0 },
    });
    try {
      await producer.connect();
    } catch (thrown) {
      partitions.close();
      throw thrown;
    }
    return new RecordSender(options, producer, partitions);
  }

  private constructor({ client, standing, log }: RecordSenderOptions, producer: Producer, partitions: TopicPartitions) {
    this.#client = client;
    this.#standing = standing;
    this.#log = log;
    this.#delivery = new DeliveryLog(log);
    this.#producer = producer;
    this.partitions = partitions;
  }

  async send(target: TopicTarget, records: readonly OutgoingRecord[], terms: SendTerms = {}): Promise<SendResult> {
    const [first] = records;
    if (first === undefined) return 'sent';
    if (this.#isClosed) throw new PublisherClosed();
    if (terms.partition !== undefined) return await this.#lane(target, terms.partition).add(records, terms.home);
    const name = `${target.topic} ${first.key?.toString('latin1') ?? ''}`;
    const pin = this.#pins.get(name) ?? { partition: this.partitions.partitionOf(target.topic, first.key), calls: 0 };
    this.#pins.set(name, pin);
    pin.calls++;
    try {
      return await this.#lane(target, pin.partition).add(records, terms.home);
    } finally {
      pin.calls--;
      if (pin.calls === 0) this.#pins.delete(name);
    }
  }

  hasPartition(topic: string, partition: number): Promise<boolean> {
    return this.partitions.has(topic, partition);
  }

  release(homes: ReadonlySet<string>): void {
    for (const lane of this.#lanes.values()) lane.drop(homes);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.partitions.close();
    for (const lane of this.#lanes.values()) lane.close();
    this.#client.shutDown();
    await this.#producer.disconnect();
  }

  #lane(target: TopicTarget, partition: number): SendLane {
    const name = `${target.topic}/${partition}`;
    const existing = this.#lanes.get(name);
    if (existing !== undefined) return existing;
    const lane = new SendLane({
      send: (records) => this.#request(target.topic, partition, records),
      judge: (thrown) => (isTooLarge(thrown) ? 'too-large' : 'try-again'),
      shrink: target.shrink,
      onFailure: (thrown) => {
        if (!this.#isClosed) this.#delivery.failed(name, thrown);
      },
      onSuccess: () => this.#delivery.succeeded(name),
      onGivenUp: (record) => logGivenUp(this.#log, target.topic, record),
      closed: () => new PublisherClosed(),
      standing: this.#standing,
      pause,
    });
    this.#lanes.set(name, lane);
    return lane;
  }

  async #request(topic: string, partition: number, records: readonly OutgoingRecord[]): Promise<void> {
    try {
      const placed = records.map((record) => ({ ...record, partition }));
      requireAnswers(await this.#producer.send(produceRequest(topic, placed)), topic, placed);
    } catch (thrown) {
      // A request that got no answer may still lie in the socket; it must not arrive after its repetition.
      if (isRequestTimeout(thrown)) this.#client.destroyConnections('a request got no answer in time');
      throw thrown;
    }
  }
}
