/**
 * Everything of Kafka that one engine uses, opened in the order in which it can fail with a clear sentence: brokers,
 * topics, producer; the consumer starts when there is a sink. Consumer and producer have connections of their own.
 */
import type { Log } from '../log.ts';
import { connectAdmin, createKafkaClient, type KafkaAddress } from '../publishing/kafka-client.ts';
import { KafkaPublisher, type StatusEncoding } from '../publishing/kafka-publisher.ts';
import { ensureTopics, type KafkaTopics } from '../publishing/kafka-topics.ts';
import type { Publisher } from '../publishing/publisher.ts';
import { RecordSender } from '../publishing/record-sender.ts';
import type { CommandSink } from './command-sink.ts';
import { KafkaDeadLetters } from './dead-letters.ts';
import { KafkaCommandConsumer } from './kafka-consumer.ts';

export interface KafkaTransportOptions extends KafkaAddress {
  readonly groupId: string;
  readonly topics: KafkaTopics;
  readonly statusEncoding: StatusEncoding;
  /** Of topics that have to be made; undefined: the brokers' default. */
  readonly partitions?: number;
  readonly log: Log;
  /** Ends the waiting for brokers at start. */
  readonly signal?: AbortSignal;
}

export interface KafkaTransport {
  readonly publisher: Publisher;
  /**
   * Joins the group and hands commands to the sink until the consumer is closed.
   * @param durabilityDelayMs the store's Durability.delayMs
   */
  consume(sink: CommandSink, durabilityDelayMs: number): Promise<KafkaCommandConsumer>;
  /** Closes the publisher; a consumer is closed before by whoever started it. Idempotent. */
  close(): Promise<void>;
}

/** @throws KafkaUnavailable one sentence that says what to do; the process should end with exit code 3 */
export async function openKafkaTransport(options: KafkaTransportOptions): Promise<KafkaTransport> {
  const { topics, log } = options;
  const producing = createKafkaClient(options, log);
  const admin = await connectAdmin(producing, options, options.signal);
  try {
    const { partitions } = options;
    await ensureTopics(admin, topics, { log, ...(partitions === undefined ? {} : { partitions }) });
  } finally {
    await admin.disconnect();
  }
  const sender = await RecordSender.open({
    client: producing,
    topics: [topics.status, topics.outcomes, topics.deadLetters],
    log,
  });
  const publisher = new KafkaPublisher({
    sender,
    statusTopic: topics.status,
    outcomesTopic: topics.outcomes,
    statusEncoding: options.statusEncoding,
  });
  const deadLetters = new KafkaDeadLetters(sender, topics.deadLetters);
  return {
    publisher,
    consume: async (sink, durabilityDelayMs) => {
      const client = createKafkaClient(options, log);
      const { groupId } = options;
      const topic = topics.commands;
      const consumer = new KafkaCommandConsumer({
        ...{ client, groupId, topic, sink, deadLetters, publisher, durabilityDelayMs, log, now: Date.now },
      });
      await consumer.start();
      return consumer;
    },
    close: () => publisher.close(),
  };
}
