/**
 * Everything of Kafka that one engine uses, opened in the order in which it can fail with a clear sentence: brokers,
 * topics, producer; the consumer starts when there is a sink. Consumer and producers have connections of their own. The
 * standing in the group joins the two: nothing is sent while it is not good, or for a partition that was lost.
 */

import { pause } from '../base/pause.ts';
import type { Standing } from '../base/standing.ts';
import type { Log } from '../log.ts';
import { TRANSACTION_RETRY } from '../publishing/home-producer.ts';
import { connectAdmin, createKafkaClient, type KafkaAddress } from '../publishing/kafka-client.ts';
import { KafkaPublisher, type PublishFence, type StatusEncoding, statusTarget } from '../publishing/kafka-publisher.ts';
import { ensureTopics, type KafkaTopics } from '../publishing/kafka-topics.ts';
import type { Publisher } from '../publishing/publisher.ts';
import { RecordSender } from '../publishing/record-sender.ts';
import { TransactionalSender } from '../publishing/transactional-sender.ts';
import type { CommandSink } from './command-sink.ts';
import { KafkaDeadLetters } from './dead-letters.ts';
import { KafkaForwarder } from './forwarding.ts';
import { GroupStanding } from './group-standing.ts';
import { KafkaCommandConsumer, type KafkaConsumerOptions } from './kafka-consumer.ts';

/** Partitions that are added to a topic are noticed within this time. */
const PARTITIONS_SEEN_MS = 60_000;

export interface KafkaTransportOptions extends KafkaAddress {
  readonly groupId: string;
  readonly topics: KafkaTopics;
  readonly statusEncoding: StatusEncoding;
  /** Default: heartbeat. */
  readonly publishFence?: PublishFence;
  /** Of topics that have to be made; undefined: the brokers' default. */
  readonly partitions?: number;
  /** Partitions that are added to a topic are noticed within this time. Default: a minute. */
  readonly partitionsSeenMs?: number;
  readonly log: Log;
  /** Ends the waiting for brokers at start. */
  readonly signal?: AbortSignal;
}

export interface KafkaTransport {
  readonly publisher: Publisher;
  /** Of this engine in its group: not good before it has joined. */
  readonly standing: Standing;
  /**
   * Joins the group and hands commands to the sink until the consumer is closed.
   * @param certainty of the store that the sink writes to
   */
  consume(sink: CommandSink, certainty: KafkaConsumerOptions['certainty']): Promise<KafkaCommandConsumer>;
  /** Closes the publisher; a consumer is closed before by whoever started it. Idempotent. */
  close(): Promise<void>;
}

/** @throws KafkaUnavailable one sentence that says what to do; the process should end with exit code 3 */
export async function openKafkaTransport(options: KafkaTransportOptions): Promise<KafkaTransport> {
  const { topics, log, groupId, statusEncoding, partitionsSeenMs = PARTITIONS_SEEN_MS } = options;
  const standing = new GroupStanding({ now: () => performance.now(), pause });
  const mayProduce = () => standing.isGood;
  tellStanding(standing, log);
  const producing = createKafkaClient({ ...options, mayProduce });
  const admin = await connectAdmin(producing, options, options.signal);
  try {
    const { partitions } = options;
    await ensureTopics(admin, topics, { log, ...(partitions === undefined ? {} : { partitions }) });
  } finally {
    await admin.disconnect();
  }
  const sender = await RecordSender.open({
    ...{ client: producing, topics: Object.values(topics), lookEveryMs: partitionsSeenMs, standing, log },
  });
  const transactions =
    options.publishFence === 'transaction'
      ? new TransactionalSender({
          client: createKafkaClient({ ...options, mayProduce, retry: TRANSACTION_RETRY }),
          idPrefix: `${groupId}-${topics.commands}`,
          target: statusTarget(topics.status, statusEncoding),
          ...{ partitions: sender.partitions, standing, log },
        })
      : undefined;
  const publisher = new KafkaPublisher({
    ...{ sender, transactions, statusEncoding },
    statusTopic: topics.status,
    outcomesTopic: topics.outcomes,
  });
  return {
    publisher,
    standing,
    consume: async (sink, certainty) => {
      const consumer = new KafkaCommandConsumer({
        ...{ groupId, topic: topics.commands, partitionsSeenMs, sink, publisher, certainty, standing, log },
        client: createKafkaClient(options),
        deadLetters: new KafkaDeadLetters(sender, topics.deadLetters),
        forwarder: new KafkaForwarder(sender, topics.commands),
        onLost: (partitions) => publisher.release(partitions.map(String)),
        onGained: (partitions) => transactions?.hold(partitions.map(String)),
        now: Date.now,
      });
      await consumer.start();
      return consumer;
    },
    close: async () => {
      standing.close();
      await publisher.close();
    },
  };
}

function tellStanding(standing: GroupStanding, log: Log): void {
  let hasBeenGood = false;
  standing.onChange(() => {
    const { isGood, hasLeft } = standing;
    if (hasLeft) return;
    if (!isGood) log.warn({}, 'the group has not answered for 4 s: nothing is started or published until it does');
    else if (hasBeenGood) log.info({}, 'the group answers again');
    hasBeenGood = true;
  });
}
