/**
 * Which partitions the topics have that we write to, and which of them a key belongs to: by the Java client's hash, so
 * that other clients of the topic agree. Looked up at start, every so often, and when somebody asks for a partition that
 * is not known; a look-up that fails leaves what is known.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import { Partitioners, type PartitionMetadata } from 'kafkajs';
import type { Pause } from '../base/pause.ts';
import type { Log } from '../log.ts';
import { type KafkaClient, kafkaErrorType, withAdmin } from './kafka-client.ts';

/** A topic that was just made is not known to every broker at once; a busy one needs seconds. */
const FIRST_LOOKS_MAX = 50;
const FIRST_LOOK_PAUSE_MS = 200;
const NOT_YET_KNOWN = new Set(['UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE']);

export interface TopicPartitionsOptions {
  readonly client: KafkaClient;
  readonly topics: readonly string[];
  /** A topic that grew is used whole after this time. */
  readonly lookEveryMs: number;
  readonly log: Log;
  readonly pause: Pause;
}

export class TopicPartitions {
  readonly #options: TopicPartitionsOptions;
  readonly #choose = Partitioners.DefaultPartitioner();
  readonly #closing = new AbortController();
  #known: ReadonlyMap<string, PartitionMetadata[]> = new Map();
  #looking: Promise<void> | undefined;

  /** @throws what the client throws when the brokers cannot be reached */
  static async open(options: TopicPartitionsOptions): Promise<TopicPartitions> {
    const partitions = new TopicPartitions(options);
    await partitions.#lookFirst();
    void partitions.#keepFresh();
    return partitions;
  }

  private constructor(options: TopicPartitionsOptions) {
    this.#options = options;
  }

  partitionOf(topic: string, key: Buffer | null): number {
    return this.#choose({ topic, partitionMetadata: this.#of(topic), message: { key, value: null } });
  }

  /** Whether the topic has this partition; asks the brokers when it is not known. Rejects when they cannot be asked. */
  async has(topic: string, partition: number): Promise<boolean> {
    const isKnown = () => this.#of(topic).some(({ partitionId }) => partitionId === partition);
    if (!isKnown()) await this.refresh();
    return isKnown();
  }

  /** One look-up at a time. */
  refresh(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Idempotent. */
  close(): void {
    this.#closing.abort();
  }

  #of(topic: string): PartitionMetadata[] {
    return this.#known.get(topic) ?? [];
  }

  async #lookFirst(): Promise<void> {
    for (let looks = 1; ; looks++) {
      try {
        return await this.refresh();
      } catch (thrown) {
        if (looks === FIRST_LOOKS_MAX || !NOT_YET_KNOWN.has(kafkaErrorType(thrown))) throw thrown;
      }
      await this.#options.pause(FIRST_LOOK_PAUSE_MS, this.#closing.signal);
    }
  }

  async #look(): Promise<void> {
    const { client, topics, log } = this.#options;
    const found = await withAdmin(client, (admin) => admin.fetchTopicMetadata({ topics: [...topics] }));
    for (const { name, partitions } of found.topics) {
      const before = this.#known.get(name)?.length ?? partitions.length;
      if (before === partitions.length) continue;
      log.info(
        { topic: name, before, partitions: partitions.length },
        'the topic has another number of partitions now',
      );
    }
    this.#known = new Map(found.topics.map(({ name, partitions }) => [name, partitions]));
  }

  async #keepFresh(): Promise<void> {
    const { lookEveryMs, pause, log } = this.#options;
    const { signal } = this.#closing;
    for (;;) {
      await pause(lookEveryMs, signal);
      if (signal.aborted) return;
      await this.refresh().catch((thrown) => {
        log.debug({ error: messageOf(thrown) }, 'the partitions of the topics could not be looked up');
      });
    }
  }
}
