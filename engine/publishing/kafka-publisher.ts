/**
 * Publishes to Kafka: which topic, which key, which bytes. Order, repetition and bounds are RecordSender's and
 * SendLane's.
 */
import { type CommandOutcomeEvent, runKey } from '@flowops/proto/statuses.ts';
import type { RunRef } from '../store/run-store.ts';
import { cutEvent } from './oversize-event.ts';
import type { Publisher } from './publisher.ts';
import type { RecordSender, TopicTarget } from './record-sender.ts';
import type { OutgoingRecord } from './send-lane.ts';

/** `string`: the JSON once more inside a JSON string, for readers built on the former engine's bytes. */
export type StatusEncoding = 'object' | 'string';

export interface KafkaPublisherOptions {
  /** Closed by `close`. */
  readonly sender: RecordSender;
  readonly statusTopic: string;
  readonly outcomesTopic: string;
  readonly statusEncoding: StatusEncoding;
}

export class KafkaPublisher implements Publisher {
  readonly #sender: RecordSender;
  readonly #status: TopicTarget;
  readonly #outcomes: TopicTarget;
  readonly #encoding: StatusEncoding;

  constructor({ sender, statusTopic, outcomesTopic, statusEncoding }: KafkaPublisherOptions) {
    this.#sender = sender;
    this.#encoding = statusEncoding;
    this.#status = { topic: statusTopic, shrink: (record) => shrink(record, statusEncoding) };
    this.#outcomes = { topic: outcomesTopic, shrink: (record) => shrink(record, 'object') };
  }

  async publish(run: RunRef, events: readonly string[]): Promise<void> {
    const key = Buffer.from(runKey(run));
    const records = events.map((event) => ({ key, value: Buffer.from(encode(event, this.#encoding)) }));
    await this.#sender.send(this.#status, records);
  }

  async publishOutcome(event: CommandOutcomeEvent): Promise<void> {
    await this.#sender.send(this.#outcomes, [
      { key: Buffer.from(runKey(event)), value: Buffer.from(JSON.stringify(event)) },
    ]);
  }

  async close(): Promise<void> {
    await this.#sender.close();
  }
}

function encode(event: string, encoding: StatusEncoding): string {
  return encoding === 'string' ? JSON.stringify(event) : event;
}

function shrink(record: OutgoingRecord, encoding: StatusEncoding): OutgoingRecord | undefined {
  const text = record.value?.toString() ?? '';
  const cut = cutEvent(encoding === 'string' ? unwrap(text) : text);
  return cut === undefined ? undefined : { ...record, value: Buffer.from(encode(cut, encoding)) };
}

function unwrap(text: string): string {
  const inner: unknown = JSON.parse(text); // our own encoding of a moment ago
  return typeof inner === 'string' ? inner : text;
}
