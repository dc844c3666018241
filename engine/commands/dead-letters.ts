/**
 * What cannot be read as a command, kept for people: value, key and headers as they came (bytes), with origin and reason
 * in headers of ours. Sent before the record's offset may be committed.
 */
import type { OutgoingRecord } from '../publishing/send-lane.ts';
import type { Sender, TopicTarget } from '../publishing/sender.ts';

/** A record as it was read. */
export type SourceRecord = OutgoingRecord;

export interface DeadLetterOrigin {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
}

export interface DeadLetters {
  /** Resolves when it is acknowledged. Rejects only with PublisherClosed. */
  send(record: SourceRecord, origin: DeadLetterOrigin, reason: string): Promise<void>;
}

/** A reason is a sentence; it never makes a record too large. */
const MAX_REASON_CHARACTERS = 2000;
const OMITTED_HEADER = 'flowops-value-omitted';

export class KafkaDeadLetters implements DeadLetters {
  readonly #sender: Sender;
  readonly #target: TopicTarget;

  constructor(sender: Sender, topic: string) {
    this.#sender = sender;
    this.#target = { topic, shrink: withoutValue };
  }

  async send(record: SourceRecord, origin: DeadLetterOrigin, reason: string): Promise<void> {
    await this.#sender.send(this.#target, [deadLetter(record, origin, reason)]);
  }
}

export function deadLetter(record: SourceRecord, origin: DeadLetterOrigin, reason: string): OutgoingRecord {
  return {
    key: record.key,
    value: record.value,
    headers: {
      ...record.headers,
      'flowops-reason': reason.slice(0, MAX_REASON_CHARACTERS),
      'flowops-topic': origin.topic,
      'flowops-partition': String(origin.partition),
      'flowops-offset': origin.offset,
    },
  };
}

/** A topic made by hand may take less than the commands' topic: the place of origin still leads to the value. */
export function withoutValue(letter: OutgoingRecord): OutgoingRecord | undefined {
  if (letter.value === null) return undefined;
  const omitted = `${letter.value.length} bytes, more than this topic takes`;
  return { key: letter.key, value: null, headers: { ...letter.headers, [OMITTED_HEADER]: omitted } };
}
