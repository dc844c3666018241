/**
 * Sends records to Kafka, acknowledged by all in-sync replicas: one producer, one lane per partition. The partition is
 * chosen here, by the Java client's hash of the key, so that other clients of the topic agree. Tells once when Kafka is
 * lost and once when it is back.
 */
import { CompressionTypes, Partitioners, type PartitionMetadata, type Producer } from 'kafkajs';
import type { Log } from '../log.ts';
import { pause } from '../runs/pause.ts';
import {
  clientErrorText,
  isRequestTimeout,
  type KafkaClient,
  kafkaErrorType,
  REQUEST_TIMEOUT_MS,
} from './kafka-client.ts';
import { PublisherClosed } from './publisher.ts';
import { type OutgoingRecord, SendLane } from './send-lane.ts';

const ACKS_ALL = -1;
/** Errors of this kind do not go away by themselves; they are told again this often. */
const REMIND_MS = 60_000;

export interface RecordSenderOptions {
  readonly client: KafkaClient;
  /** Their partitions are looked up once, at start: a topic that grows is used whole after the next start. */
  readonly topics: readonly string[];
  readonly log: Log;
}

export interface TopicTarget {
  readonly topic: string;
  /** See SendLane L3. */
  readonly shrink: (record: OutgoingRecord) => OutgoingRecord | undefined;
}

export class RecordSender {
  readonly #client: KafkaClient;
  readonly #producer: Producer;
  readonly #log: Log;
  readonly #partitions: ReadonlyMap<string, readonly PartitionMetadata[]>;
  readonly #choose = Partitioners.DefaultPartitioner();
  readonly #lanes = new Map<string, SendLane>();
  readonly #lost = new Map<string, number>();
  #isClosed = false;

  /** @throws what the client throws when the brokers cannot be reached */
  static async open(options: RecordSenderOptions): Promise<RecordSender> {
    const admin = options.client.kafka.admin();
    await admin.connect();
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [...options.topics] });
      const producer = options.client.kafka.producer({
        idempotent: false,
        allowAutoTopicCreation: false,
        createPartitioner: Partitioners.DefaultPartitioner,
        retry: { retries: 0 },
      });
      await producer.connect();
      return new RecordSender(options, producer, new Map(topics.map(({ name, partitions }) => [name, partitions])));
    } finally {
      await admin.disconnect();
    }
  }

  private constructor(
    { client, log }: RecordSenderOptions,
    producer: Producer,
    partitions: ReadonlyMap<string, readonly PartitionMetadata[]>,
  ) {
    this.#client = client;
    this.#log = log;
    this.#producer = producer;
    this.#partitions = partitions;
  }

  /** Resolves when all are acknowledged. The records have one key, hence one partition and one order. */
  async send(target: TopicTarget, records: readonly OutgoingRecord[]): Promise<void> {
    const [first] = records;
    if (first === undefined) return;
    if (this.#isClosed) throw new PublisherClosed();
    const partition = this.#choose({
      topic: target.topic,
      partitionMetadata: [...(this.#partitions.get(target.topic) ?? [])],
      message: { key: first.key, value: null },
    });
    await this.#lane(target, partition).add(records);
  }

  /** What was not acknowledged is rejected with PublisherClosed. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
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
      judge: (thrown) => (TOO_LARGE.has(kafkaErrorType(thrown)) ? 'too-large' : 'try-again'),
      shrink: target.shrink,
      onFailure: (thrown) => this.#tellLost(name, thrown),
      onSuccess: () => this.#tellBack(name),
      onGivenUp: ({ key, value }) =>
        this.#log.error(
          { topic: target.topic, key: key?.toString(), bytes: value?.length ?? 0 },
          "the record is larger than the topic's max.message.bytes and was given up",
        ),
      closed: () => new PublisherClosed(),
      pause,
    });
    this.#lanes.set(name, lane);
    return lane;
  }

  async #request(topic: string, partition: number, records: readonly OutgoingRecord[]): Promise<void> {
    try {
      await this.#producer.send({
        topic,
        acks: ACKS_ALL,
        timeout: REQUEST_TIMEOUT_MS,
        compression: CompressionTypes.None,
        messages: records.map(({ key, value, headers }) => ({
          key,
          value,
          partition,
          ...(headers === undefined ? {} : { headers }),
        })),
      });
    } catch (thrown) {
      // A request that got no answer may still lie in the socket; it must not arrive after its repetition.
      if (isRequestTimeout(thrown)) this.#client.destroyConnections('a request got no answer in time');
      throw thrown;
    }
  }

  #tellLost(lane: string, thrown: unknown): void {
    if (this.#isClosed) return;
    const toldAtMs = this.#lost.get(lane);
    const nowMs = performance.now();
    if (toldAtMs !== undefined && nowMs - toldAtMs < REMIND_MS) return;
    const isFirst = this.#lost.size === 0 || toldAtMs !== undefined;
    this.#lost.set(lane, nowMs);
    if (isFirst) {
      this.#log.warn(
        { lane, error: clientErrorText(thrown) },
        'Kafka does not take events; trying again until it does',
      );
    }
  }

  #tellBack(lane: string): void {
    if (!this.#lost.delete(lane) || this.#lost.size > 0) return;
    this.#log.info({}, 'Kafka takes events again');
  }
}

const TOO_LARGE = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);
