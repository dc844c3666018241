/**
 * One test's corner of a real Kafka: topics and a group of its own, engines (transport, consumer, recording sink) that
 * join it, and a plain client beside them. Everything opened is closed by `close`.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandOrigin, CommandSink, Elsewhere } from '@flowops/engine/commands/command-sink.ts';
import type { KafkaCommandConsumer } from '@flowops/engine/commands/kafka-consumer.ts';
import {
  type KafkaTransport,
  type KafkaTransportOptions,
  openKafkaTransport,
} from '@flowops/engine/commands/kafka-transport.ts';
import type { Log } from '@flowops/engine/log.ts';
import { silenceNegativeTimeouts } from '@flowops/engine/publishing/kafka-client.ts';
import type { KafkaTopics } from '@flowops/engine/publishing/kafka-topics.ts';
import type { Command } from '@flowops/proto/commands.ts';
import { type Admin, Kafka, logLevel, type Message, type Producer } from 'kafkajs';

const POLL_MS = 20;
const PATIENCE_MS = 40_000;

export interface WorldOptions {
  readonly partitions?: number;
  readonly maxMessageBytes?: number;
}

export type TransportOptions = Partial<
  Pick<KafkaTransportOptions, 'statusEncoding' | 'publishFence' | 'partitionsSeenMs'>
>;

export interface Engine {
  readonly transport: KafkaTransport;
  readonly consumer: KafkaCommandConsumer;
  readonly sink: RecordingSink;
  readonly logged: readonly string[];
  close(): Promise<void>;
}

/** Of a store that is on disk at once and never lost. */
export const CERTAIN = { delayMs: 0, sinceMs: Number.NEGATIVE_INFINITY, isStill: async () => true };

export class KafkaWorld {
  readonly brokers: string;
  readonly groupId = `group-${randomUUID()}`;
  readonly topics: KafkaTopics;
  readonly admin: Admin;
  readonly producer: Producer;
  readonly #partitions: number;
  readonly #open: (() => Promise<void>)[] = [];

  static async open(brokers: string, options: WorldOptions = {}): Promise<KafkaWorld> {
    const world = new KafkaWorld(brokers, options.partitions ?? 2);
    await Promise.all([world.admin.connect(), world.producer.connect()]);
    if (options.maxMessageBytes !== undefined) {
      const configEntries = [{ name: 'max.message.bytes', value: String(options.maxMessageBytes) }];
      await world.admin.createTopics({
        topics: [{ topic: world.topics.commands, numPartitions: world.#partitions, configEntries }],
      });
    }
    return world;
  }

  private constructor(brokers: string, partitions: number) {
    const id = randomUUID();
    this.brokers = brokers;
    this.#partitions = partitions;
    this.topics = {
      commands: `${id}.commands`,
      status: `${id}.status`,
      outcomes: `${id}.outcomes`,
      deadLetters: `${id}.dlq`,
    };
    silenceNegativeTimeouts();
    const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING });
    this.admin = kafka.admin();
    this.producer = kafka.producer({ allowAutoTopicCreation: false });
    this.#open.push(
      () => this.admin.disconnect(),
      () => this.producer.disconnect(),
    );
  }

  /** Its publisher sends only after it has joined the group: `engine` does. */
  async transport(log: Log, options: TransportOptions = {}): Promise<KafkaTransport> {
    const { brokers, groupId, topics } = this;
    const transport = await openKafkaTransport({
      ...{ brokers: [brokers], security: {}, clientId: 'flowops-test', groupId, topics, statusEncoding: 'object', log },
      partitions: this.#partitions,
      ...options,
    });
    this.#open.push(() => transport.close());
    return transport;
  }

  async engine(
    sink: RecordingSink = new RecordingSink(),
    durabilityDelayMs = 0,
    options: TransportOptions = {},
  ): Promise<Engine> {
    const { log, logged } = recordingLog();
    const transport = await this.transport(log, options);
    const consumer = await transport.consume(sink, { ...CERTAIN, delayMs: durabilityDelayMs });
    const close = async () => {
      await consumer.close(AbortSignal.timeout(5000));
      await transport.close();
    };
    this.#open.push(close);
    return { transport, consumer, sink, logged, close };
  }

  async send(...messages: readonly (Message | string)[]): Promise<void> {
    await this.producer.send({
      topic: this.topics.commands,
      messages: messages.map((message) => (typeof message === 'string' ? stop(message) : message)),
    });
  }

  /** Committed offset of each partition; -1 before the first commit. */
  async committed(): Promise<readonly number[]> {
    const [answer] = await this.admin.fetchOffsets({ groupId: this.groupId, topics: [this.topics.commands] });
    return [...(answer?.partitions ?? [])]
      .sort((a, b) => a.partition - b.partition)
      .map(({ offset }) => Number(offset));
  }

  async makeTopics(): Promise<void> {
    const topics = Object.values(this.topics).map((topic) => ({ topic, numPartitions: this.#partitions }));
    await this.admin.createTopics({ topics, waitForLeaders: true });
  }

  async addPartitions(topic: string, count: number): Promise<void> {
    await this.admin.createPartitions({ topicPartitions: [{ topic, count }] });
    // The plain clients look for new partitions only every few minutes.
    await Promise.all([this.admin.disconnect(), this.producer.disconnect()]);
    await Promise.all([this.admin.connect(), this.producer.connect()]);
  }

  /** The end of each partition: the offset of its next record. Empty while a new partition has no leader yet. */
  async ends(topic: string): Promise<readonly number[]> {
    const offsets = await this.admin.fetchTopicOffsets(topic).catch(() => []);
    return offsets.sort((a, b) => a.partition - b.partition).map(({ high }) => Number(high));
  }

  /** All records of a topic, in the order of their partition, once there are `count`. */
  async records(topic: string, count: number): Promise<readonly TopicRecord[]> {
    const { records, close } = await this.follow(topic);
    await until(`${count} records on ${topic}`, () => records.length >= count);
    await close();
    return records;
  }

  /** The records of a topic, in the order of their partition, as they come; of transactions those that are committed. */
  async follow(topic: string): Promise<{ readonly records: readonly TopicRecord[]; close(): Promise<void> }> {
    const consumer = new Kafka({ brokers: [this.brokers], logLevel: logLevel.NOTHING }).consumer({
      groupId: `reader-${randomUUID()}`,
      maxWaitTimeInMs: 100,
      metadataMaxAge: 500,
    });
    const records: TopicRecord[] = [];
    let isOpen = true;
    const close = async () => {
      if (isOpen) await consumer.disconnect();
      isOpen = false;
    };
    this.#open.push(close);
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ partition, message }) => {
        const headers = Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]);
        const { key, value, timestamp } = message;
        records.push({ partition, key, value, timestamp, headers: Object.fromEntries(headers) });
      },
    });
    return { records, close };
  }

  async close(): Promise<void> {
    for (const close of this.#open.splice(0).reverse()) await close();
  }
}

export interface TopicRecord {
  readonly partition: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Epoch ms, decimal digits. */
  readonly timestamp: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A sink that notes what it is given; `behave` decides what becomes of a command. */
export class RecordingSink implements CommandSink {
  readonly taken: { readonly runId: string; readonly command: Command; readonly origin: CommandOrigin }[] = [];
  readonly told: string[] = [];
  behave: (runId: string) => Promise<void> = async () => {};
  /** runId → the partition where the run is at home, when it is another one than that of the command. */
  readonly homes = new Map<string, string>();

  get runIds(): readonly string[] {
    return this.taken.map(({ runId }) => runId);
  }

  async take(command: Command, origin: CommandOrigin): Promise<Elsewhere | undefined> {
    this.taken.push({ runId: command.runId, command, origin });
    await this.behave(command.runId);
    const home = this.homes.get(command.runId);
    return home === undefined || home === String(origin.partition) ? undefined : { home };
  }

  async partitionsAssigned(partitions: readonly number[]): Promise<void> {
    this.told.push(`assigned ${[...partitions].sort((a, b) => a - b)}`);
  }

  async partitionsRevoked(partitions: readonly number[]): Promise<void> {
    this.told.push(`revoked ${[...partitions].sort((a, b) => a - b)}`);
  }
}

export function recordingLog(): { readonly log: Log; readonly logged: readonly string[] } {
  const logged: string[] = [];
  const note = (level: string) => (_fields: object, message: string) => void logged.push(`${level}: ${message}`);
  return { log: { debug: () => {}, info: note('info'), warn: note('warn'), error: note('error') }, logged };
}

/** A STOP command for the run, keyed by it as the existing producer does. */
export function stop(runId: string, partition?: number): Message {
  const value = JSON.stringify({ eventType: 'EXECUTION_STOP', flowId: 'flow', runId, triggeredBy: null, steps: null });
  return { key: runId, value, ...(partition === undefined ? {} : { partition }) };
}

/** Waits for something that a service makes true. */
export async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await isTrue())) {
    if (performance.now() > deadlineMs) throw new Error(`waited in vain for ${what}`);
    await sleep(POLL_MS);
  }
}
