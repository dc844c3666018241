/** What is looked up of the topics' partitions at start, on a client that answers as brokers do. */
import type { KafkaClient } from '@flowops/engine/publishing/kafka-client.ts';
import { TopicPartitions } from '@flowops/engine/publishing/topic-partitions.ts';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { expect, it, vi } from 'vitest';
import { SILENT } from '../../../support/run-bench.ts';

const PARTITION = { partitionErrorCode: 0, partitionId: 0, leader: 1, replicas: [1], isr: [1] };

/** As the client names what the brokers refuse. */
function refusal(type: string): Error {
  return Object.assign(new Error('the brokers say no'), { name: 'KafkaJSProtocolError', type });
}

/** @param answers to the look-ups, one after the other; the last one again and again */
function openWith(answers: readonly (Error | 'known')[]) {
  const kafka = new Kafka({ brokers: ['127.0.0.1:1'], logLevel: logLevel.NOTHING });
  let looks = 0;
  const admin: Partial<Admin> = {
    connect: async () => undefined,
    disconnect: async () => undefined,
    fetchTopicMetadata: async () => {
      const answer = answers[Math.min(looks++, answers.length - 1)];
      if (answer instanceof Error) throw answer;
      return { topics: [{ name: 'status', partitions: [PARTITION] }] };
    },
  };
  vi.spyOn(kafka, 'admin').mockReturnValue(admin as Admin); // what withAdmin and a look-up call
  const client: KafkaClient = { kafka, destroyConnections: () => undefined, shutDown: () => undefined };
  const pauses: number[] = [];
  // A pause of a look-up passes at once; the long one between two refreshes never does.
  const pause = async (ms: number) => {
    if (ms > 1000) await new Promise(() => {});
    pauses.push(ms);
  };
  const opening = TopicPartitions.open({ client, topics: ['status'], lookEveryMs: 60_000, log: SILENT, pause });
  return { opening, looks: () => looks, pauses };
}

it.each(['UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE'])(
  'a topic that was just made is asked for again while a broker says %s',
  async (type) => {
    const { opening, looks } = openWith([refusal(type), refusal(type), 'known']);
    const partitions = await opening;
    expect(looks()).toBe(3);
    expect(partitions.partitionOf('status', null)).toBe(0);
    partitions.close();
  },
);

it('a topic that stays unknown is told after some seconds', async () => {
  const { opening, pauses } = openWith([refusal('UNKNOWN_TOPIC_OR_PARTITION')]);
  await expect(opening).rejects.toThrow('the brokers say no');
  const waitedMs = pauses.reduce((sum, ms) => sum + ms, 0);
  expect(waitedMs).toBeGreaterThan(5_000);
  expect(waitedMs).toBeLessThan(30_000);
});

it('any other refusal is told at once', async () => {
  const { opening, looks } = openWith([refusal('TOPIC_AUTHORIZATION_FAILED')]);
  await expect(opening).rejects.toThrow('the brokers say no');
  expect(looks()).toBe(1);
});
