/**
 * Publishes to Kafka: which topic, which key, which bytes. Order, repetition and bounds are the senders'.
 */
import { type CommandOutcomeEvent, runKey } from '@flowops/proto/statuses.ts';
import type { RunRef } from '../store/run-store.ts';
import { cutEvent } from './oversize-event.ts';
import type { Publisher } from './publisher.ts';
import type { OutgoingRecord } from './send-lane.ts';
import type { Sender, TopicTarget } from './sender.ts';
import type { TransactionalSender } from './transactional-sender.ts';

/** `transaction`: a former owner's events are refused by the broker itself, at a price for every event. */
export type PublishFence = 'heartbeat' | 'transaction';

/** `string`: the JSON once more inside a JSON string, for readers built on the former engine's bytes. */
export type StatusEncoding = 'object' | 'string';

export interface KafkaPublisherOptions {
  /** Closed by `close`. */
  readonly sender: Sender;
  /** Given when status events are published in transactions. Closed by `close`. */
  readonly transactions?: TransactionalSender | undefined;
  readonly statusTopic: string;
  readonly outcomesTopic: string;
  readonly statusEncoding: StatusEncoding;
}

export class KafkaPublisher implements Publisher {
  readonly #sender: Sender;
  readonly #transactions: TransactionalSender | undefined;
  readonly #status: TopicTarget;
  readonly #outcomes: TopicTarget;
  readonly #encoding: StatusEncoding;

  constructor({ sender, transactions, statusTopic, outcomesTopic, statusEncoding }: KafkaPublisherOptions) {
    this.#sender = sender;
    this.#transactions = transactions;
    this.#encoding = statusEncoding;
    this.#status = statusTarget(statusTopic, statusEncoding);
    this.#outcomes = { topic: outcomesTopic, shrink: (record) => shrink(record, 'object') };
  }

  async publish(run: RunRef, events: readonly string[], home?: string): Promise<void> {
    const key = Buffer.from(runKey(run));
    const records = events.map((event) => ({ key, value: Buffer.from(encode(event, this.#encoding)) }));
    if (this.#transactions !== undefined && home !== undefined) {
      await this.#transactions.send(home, records);
    } else {
      await this.#sender.send(this.#status, records, home === undefined ? {} : { home });
    }
  }

  async publishOutcome(event: CommandOutcomeEvent, home?: string): Promise<void> {
    const record = { key: Buffer.from(runKey(event)), value: Buffer.from(JSON.stringify(event)) };
    await this.#sender.send(this.#outcomes, [record], home === undefined ? {} : { home });
  }

  release(homes: readonly string[]): void {
    const lost = new Set(homes);
    this.#sender.release(lost);
    this.#transactions?.release(lost);
  }

  async close(): Promise<void> {
    await this.#transactions?.close();
    await this.#sender.close();
  }
}

/** Where status events go, and how one is cut that no request can carry. */
export function statusTarget(topic: string, encoding: StatusEncoding): TopicTarget {
  return { topic, shrink: (record) => shrink(record, encoding) };
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
