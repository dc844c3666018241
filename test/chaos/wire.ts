/**
 * The topics of one scenario as the services around an engine use them: commands go in, the status topic is read to its
 * last offset. Records are kept as they came, each offset once; a reader that has to read some of them again, because
 * the broker died under it, adds nothing.
 */
import { randomUUID } from 'node:crypto';
import { silenceNegativeTimeouts } from '@flowops/engine/publishing/kafka-client.ts';
import { type StatusEvent, statusEventSchema } from '@flowops/proto/statuses.ts';
import { type Admin, type Consumer, Kafka, logLevel, type Producer } from 'kafkajs';
import type { TopicNames } from '../support/service-topics.ts';
import type { StatusRecord } from './observation.ts';

/** New partitions are seen by the producer within this. */
const METADATA_MAX_AGE_MS = 1000;
/** The end of the topic is read within this; what is missing then is no record, but the mark of a transaction's end. */
const CATCH_UP_MS = 10_000;

export interface Command {
  readonly key: string;
  readonly value: string;
}

export class Wire {
  readonly names: TopicNames;
  readonly #admin: Admin;
  readonly #producer: Producer;
  readonly #consumer: Consumer;
  /** Partition → offset → record. */
  readonly #records = new Map<number, Map<number, StatusRecord>>();
  readonly #onEvent: (event: StatusEvent) => void;
  #onRecord: () => void = () => undefined;

  private constructor(brokers: string, names: TopicNames, onEvent: (event: StatusEvent) => void) {
    silenceNegativeTimeouts();
    this.names = names;
    this.#onEvent = onEvent;
    // A broker that is killed and started again is waited for.
    const retry = { retries: 200, initialRetryTime: 100, maxRetryTime: 1000 };
    const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING, retry });
    this.#admin = kafka.admin();
    this.#producer = kafka.producer({ allowAutoTopicCreation: false, metadataMaxAge: METADATA_MAX_AGE_MS });
    this.#consumer = kafka.consumer({ groupId: `reader-${randomUUID()}`, maxWaitTimeInMs: 50 });
  }

  /**
   * Makes the topics and begins to read.
   * @param onEvent for what reacts to events; what cannot be read as one is kept for the checker alone
   */
  static async open(options: {
    readonly brokers: string;
    readonly names: TopicNames;
    readonly commandPartitions: number;
    readonly onEvent: (event: StatusEvent) => void;
  }): Promise<Wire> {
    const { names, commandPartitions } = options;
    const wire = new Wire(options.brokers, names, options.onEvent);
    await Promise.all([wire.#admin.connect(), wire.#producer.connect(), wire.#consumer.connect()]);
    const others = [names.status, names.outcomes, names.deadLetters].map((topic) => ({ topic }));
    await wire.#admin.createTopics({
      topics: [{ topic: names.commands, numPartitions: commandPartitions }, ...others],
      waitForLeaders: true,
    });
    await wire.#consumer.subscribe({ topics: [names.status], fromBeginning: true });
    await wire.#consumer.run({
      eachMessage: async ({ partition, message: { offset, key, value } }) => {
        wire.#keep({ partition, offset: Number(offset), key: text(key), value: text(value) });
      },
    });
    return wire;
  }

  get records(): readonly StatusRecord[] {
    return [...this.#records.values()].flatMap((ofPartition) => [...ofPartition.values()]);
  }

  /** Resolves when the broker has them, in this order. */
  async send(commands: readonly Command[]): Promise<void> {
    await this.#producer.send({ topic: this.names.commands, messages: [...commands] });
  }

  async addCommandPartitions(count: number): Promise<void> {
    await this.#admin.createPartitions({ topicPartitions: [{ topic: this.names.commands, count }] });
  }

  /** Resolves when everything that is on the status topic now was read. */
  async catchUp(): Promise<void> {
    const ends = await this.#admin.fetchTopicOffsets(this.names.status);
    const isThere = () =>
      ends.every(({ partition, high }) => {
        const last = Number(high) - 1;
        return last < 0 || this.#records.get(partition)?.has(last) === true;
      });
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CATCH_UP_MS);
      this.#onRecord = () => {
        if (!isThere()) return;
        clearTimeout(timer);
        resolve();
      };
      this.#onRecord();
    });
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#consumer.disconnect(), this.#producer.disconnect(), this.#admin.disconnect()]);
  }

  #keep(record: StatusRecord): void {
    const ofPartition = this.#records.get(record.partition) ?? new Map<number, StatusRecord>();
    this.#records.set(record.partition, ofPartition);
    if (ofPartition.has(record.offset)) return;
    ofPartition.set(record.offset, record);
    const read = readEvent(record.value);
    if (read !== undefined) this.#onEvent(read);
    this.#onRecord();
  }
}

function readEvent(value: string | null): StatusEvent | undefined {
  try {
    const read = statusEventSchema.safeParse(JSON.parse(value ?? ''));
    return read.success ? read.data : undefined;
  } catch {
    return undefined;
  }
}

function text(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString();
}
