/** One produce request as we send it, and what its answer means. */
import { CompressionTypes, type ProducerRecord, type RecordMetadata } from 'kafkajs';
import type { Log } from '../log.ts';
import { kafkaErrorType, REQUEST_TIMEOUT_MS } from './kafka-client.ts';
import type { OutgoingRecord } from './send-lane.ts';

const ACKS_ALL = -1;
/** The client sends nothing, without an error, to a partition that its own metadata lack: they are never much older. */
export const PRODUCER_METADATA_MS = 1000;
const TOO_LARGE = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);

/** A record whose partition is chosen. */
export interface PlacedRecord extends OutgoingRecord {
  readonly partition: number;
}

export function produceRequest(topic: string, records: readonly PlacedRecord[]): ProducerRecord {
  return {
    topic,
    acks: ACKS_ALL,
    timeout: REQUEST_TIMEOUT_MS,
    compression: CompressionTypes.None,
    messages: records.map((record) => ({ ...record, headers: record.headers ?? {} })),
  };
}

/** @throws when a partition is not answered for: the client left it out in silence (PRODUCER_METADATA_MS) */
export function requireAnswers(answer: readonly RecordMetadata[], topic: string, sent: readonly PlacedRecord[]): void {
  for (const partition of new Set(sent.map((record) => record.partition))) {
    const isAnswered = answer.some((part) => part.topicName === topic && part.partition === partition);
    if (!isAnswered) throw new Error(`the client knows no partition ${partition} of ${topic} yet`);
  }
}

export function isTooLarge(thrown: unknown): boolean {
  return TOO_LARGE.has(kafkaErrorType(thrown));
}

export function logGivenUp(log: Log, topic: string, { key, value }: OutgoingRecord): void {
  const record = { topic, key: key?.toString(), bytes: value?.length ?? 0 };
  log.error(record, "the record is larger than the topic's max.message.bytes and was given up");
}
