/**
 * The topics the engine uses: made when they are absent, never changed when they exist. Dead letters may be as large as
 * the largest command and carry headers beside it, so their topic takes a little more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin } from 'kafkajs';
import type { Log } from '../log.ts';
import {
  clientErrorText,
  isConnectionTrouble,
  KafkaUnavailable,
  START_RETRY_MS,
  START_TIMEOUT_MS,
} from './kafka-client.ts';

export interface KafkaTopics {
  readonly commands: string;
  readonly status: string;
  readonly outcomes: string;
  readonly deadLetters: string;
}

/** Room for the headers of a dead letter, bytes. */
const HEADER_ROOM_BYTES = 64 * 1024;
const MAX_MESSAGE_BYTES = 'max.message.bytes';

/** @param partitions of topics that are made; undefined: the brokers' default. */
export async function ensureTopics(
  admin: Admin,
  topics: KafkaTopics,
  options: { readonly partitions?: number; readonly log: Log },
): Promise<void> {
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      await createMissing(admin, topics, options);
      return;
    } catch (cause) {
      // A cluster that has just started has no controller or no leaders yet.
      if (isConnectionTrouble(cause) && performance.now() < deadlineMs) {
        await sleep(START_RETRY_MS);
        continue;
      }
      const names = Object.values(topics).join(', ');
      throw new KafkaUnavailable(
        `The topics ${names} could not be found or created: ${clientErrorText(cause)}. ` +
          'Create them, or allow this client to.',
        { cause },
      );
    }
  }
}

async function createMissing(
  admin: Admin,
  topics: KafkaTopics,
  options: { readonly partitions?: number; readonly log: Log },
): Promise<void> {
  const existing = new Set(await admin.listTopics());
  const make = async (topic: string, configEntries: { name: string; value: string }[] = []) => {
    if (existing.has(topic)) return;
    const numPartitions = options.partitions ?? -1;
    // False when another engine was faster.
    const isNew = await admin.createTopics({ topics: [{ topic, numPartitions, configEntries }], waitForLeaders: true });
    const partitions = numPartitions === -1 ? "the brokers' default" : numPartitions;
    if (isNew) options.log.info({ topic, partitions }, 'the topic did not exist; it was created');
  };
  await make(topics.commands);
  await make(topics.status);
  await make(topics.outcomes);
  if (existing.has(topics.deadLetters)) return;
  const limit = (await maxMessageBytes(admin, topics.commands)) + HEADER_ROOM_BYTES;
  await make(topics.deadLetters, [{ name: MAX_MESSAGE_BYTES, value: String(limit) }]);
}

async function maxMessageBytes(admin: Admin, topic: string): Promise<number> {
  const { resources } = await admin.describeConfigs({
    resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: [MAX_MESSAGE_BYTES] }],
    includeSynonyms: false,
  });
  const value = resources[0]?.configEntries.find((entry) => entry.configName === MAX_MESSAGE_BYTES)?.configValue;
  const bytes = Number(value);
  return Number.isInteger(bytes) && bytes > 0 ? bytes : 1024 * 1024;
}
