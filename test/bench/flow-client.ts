/** A client of the engines' topics: sends STARTs and hears of their ends. */
import { randomUUID } from 'node:crypto';
import { silenceNegativeTimeouts } from '@flowops/engine/publishing/kafka-client.ts';
import type { Json } from '@flowops/proto/json.ts';
import { Kafka, logLevel } from 'kafkajs';
import { z } from 'zod';

/** Records of one produce request. */
const BATCH = 250;
const FINAL = new Set(['COMPLETED', 'FAILED', 'STOPPED']);
const statusSchema = z.object({
  runId: z.string(),
  status: z.string(),
  stepId: z.string().optional(),
  attempt: z.number().default(1),
});

interface Watched {
  readonly begun: () => void;
  readonly ended: (status: string) => void;
}

export interface Topics {
  readonly commands: string;
  readonly status: string;
}

export class FlowClient {
  readonly #topics: Topics;
  readonly #producer: ReturnType<Kafka['producer']>;
  readonly #consumer: ReturnType<Kafka['consumer']>;
  readonly #runs = new Map<string, Watched>();
  /** Steps that were begun more than once, heard of so far. */
  reruns = 0;

  private constructor(kafka: Kafka, topics: Topics) {
    this.#topics = topics;
    this.#producer = kafka.producer();
    this.#consumer = kafka.consumer({ groupId: `bench-${randomUUID()}`, maxWaitTimeInMs: 500 });
  }

  static async open(brokers: string, topics: Topics): Promise<FlowClient> {
    silenceNegativeTimeouts();
    const client = new FlowClient(new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }), topics);
    await client.#producer.connect();
    await client.#consumer.connect();
    await client.#consumer.subscribe({ topic: topics.status, fromBeginning: true });
    const joined = new Promise<void>((resolve) => client.#consumer.on('consumer.group_join', () => resolve()));
    await client.#consumer.run({
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) client.#look(value?.toString() ?? '');
      },
    });
    await joined;
    return client;
  }

  /** One flow. @returns ms from the command to the final event */
  async run(steps: Json): Promise<number> {
    const startedMs = performance.now();
    const { ended } = await this.start(1, steps);
    await ended;
    return performance.now() - startedMs;
  }

  /** Many at once. `begun`: all have told that they run; `ended`: all have come to their end. */
  async start(count: number, steps: Json): Promise<{ begun: Promise<void>; ended: Promise<void> }> {
    const begun: Promise<void>[] = [];
    const ended: Promise<void>[] = [];
    const messages = Array.from({ length: count }, () => {
      const runId = randomUUID();
      begun.push(new Promise((isBegun) => ended.push(this.#watch(runId, isBegun))));
      const value = JSON.stringify({ eventType: 'EXECUTION_START', flowId: 'bench', runId, triggeredBy: null, steps });
      return { key: runId, value };
    });
    const all = { begun: Promise.all(begun).then(() => {}), ended: Promise.all(ended).then(() => {}) };
    all.ended.catch(() => {}); // it is told to who waits for it
    for (let at = 0; at < count; at += BATCH) {
      await this.#producer.send({ topic: this.#topics.commands, messages: messages.slice(at, at + BATCH) });
    }
    return all;
  }

  async close(): Promise<void> {
    await this.#consumer.disconnect();
    await this.#producer.disconnect();
  }

  #watch(runId: string, begun: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const ended = (status: string) => {
        this.#runs.delete(runId);
        if (status === 'COMPLETED') resolve();
        else reject(new Error(`a flow of the bench ended ${status}`));
      };
      this.#runs.set(runId, { begun, ended });
    });
  }

  #look(value: string): void {
    const event = statusSchema.safeParse(JSON.parse(value));
    if (!event.success) return;
    const { runId, status, stepId, attempt } = event.data;
    if (stepId !== undefined) {
      if (status === 'RUNNING' && attempt > 1) this.reruns++;
      return;
    }
    const run = this.#runs.get(runId);
    if (status === 'RUNNING') run?.begun();
    if (FINAL.has(status)) run?.ended(status);
  }
}
