/**
 * The topics of an engine under test, from outside: sends commands as other services do and holds everything that came
 * on the engine's topics, in order. kafkajs only; Kafka's own console tools are in test/services.
 */
import { randomUUID } from 'node:crypto';
import { silenceNegativeTimeouts } from '@flowops/engine/publishing/kafka-client.ts';
import type { Json } from '@flowops/proto/json.ts';
import {
  type FlowStatusEvent,
  type StatusEvent,
  type StepStatusEvent,
  statusEventSchema,
} from '@flowops/proto/statuses.ts';
import { Kafka, logLevel, type Producer } from 'kafkajs';
import { expect } from 'vitest';
import { z } from 'zod';
import { Growing } from './service-growing.ts';

const outcomeSchema = z.object({
  eventType: z.string(),
  command: z.string(),
  flowId: z.string(),
  runId: z.string(),
  outcome: z.string(),
  code: z.string().nullable(),
  message: z.string().nullable(),
  triggeredBy: z.string().nullable(),
  via: z.string(),
  quiescent: z.boolean().optional(),
  timestamp: z.string(),
});
export type OutcomeMessage = z.output<typeof outcomeSchema>;

export interface TopicNames {
  readonly commands: string;
  readonly status: string;
  readonly outcomes: string;
  readonly deadLetters: string;
}

export interface DeadLetter {
  readonly key: string | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Run {
  readonly flowId: string;
  readonly runId: string;
}

/** How a record differs from what the existing producer sends. */
export interface SendOptions {
  /** Default: the key's. */
  readonly partition?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Kafka's time of the record, epoch ms. Default: now. */
  readonly timestampMs?: number;
}

export class Topics {
  readonly names: TopicNames;
  readonly events: Growing<StatusEvent>;
  readonly outcomes: Growing<OutcomeMessage>;
  readonly deadLetters: Growing<DeadLetter>;
  readonly #kafka: Kafka;
  readonly #producer: Producer;
  readonly #close: (() => Promise<void>)[] = [];

  /** @param describe told with every wait in vain: the engine's log. */
  constructor(brokers: string, names: TopicNames, describe: () => string) {
    this.names = names;
    this.events = new Growing(describe);
    this.outcomes = new Growing(describe);
    this.deadLetters = new Growing(describe);
    silenceNegativeTimeouts();
    // A broker that a test kills and restarts is waited for.
    const retry = { retries: 100, initialRetryTime: 100, maxRetryTime: 1000 };
    this.#kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING, retry });
    this.#producer = this.#kafka.producer({ allowAutoTopicCreation: false });
  }

  /** The topics must be there: the engine makes them. */
  async open(): Promise<void> {
    const consumer = this.#kafka.consumer({ groupId: `reader-${randomUUID()}`, maxWaitTimeInMs: 50 });
    const { status, outcomes, deadLetters } = this.names;
    await Promise.all([this.#producer.connect(), consumer.connect()]);
    this.#close.push(
      () => this.#producer.disconnect(),
      () => consumer.disconnect(),
    );
    await consumer.subscribe({ topics: [status, outcomes, deadLetters], fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ topic, message: { key, value, headers } }) => {
        const text = value?.toString() ?? '';
        if (topic === status) this.events.push(statusEventSchema.parse(JSON.parse(text)));
        else if (topic === outcomes) this.outcomes.push(outcomeSchema.parse(JSON.parse(text)));
        else this.deadLetters.push({ key: key?.toString() ?? null, value, headers: textHeaders(headers) });
      },
    });
  }

  async close(): Promise<void> {
    for (const close of this.#close.splice(0)) await close();
  }

  /** A record on the commands' topic, as it is. */
  async send(key: string | null, value: string | Buffer | null, how: SendOptions = {}): Promise<void> {
    const { partition, headers, timestampMs } = how;
    const message = {
      ...{ key, value },
      ...(partition === undefined ? {} : { partition }),
      ...(headers === undefined ? {} : { headers: { ...headers } }),
      ...(timestampMs === undefined ? {} : { timestamp: String(timestampMs) }),
    };
    await this.#producer.send({ topic: this.names.commands, messages: [message] });
  }

  /** A START as the existing producer writes it, under a new runId. */
  async start(flowId: string, steps: Json, more: Readonly<Record<string, Json>> = {}): Promise<Run> {
    const run = { flowId, runId: randomUUID() };
    await this.startAs(run, steps, more);
    return run;
  }

  /** A START under a given runId. */
  async startAs(run: Run, steps: Json, more: Readonly<Record<string, Json>> = {}, how?: SendOptions): Promise<void> {
    const command = { eventType: 'EXECUTION_START', ...run, triggeredBy: 'test', steps, ...more };
    await this.send(run.runId, JSON.stringify(command), how);
  }

  async command(eventType: string, { flowId, runId }: Run, how?: SendOptions): Promise<void> {
    await this.send(runId, JSON.stringify({ eventType, flowId, runId, triggeredBy: 'test', steps: null }), how);
  }

  /** The first copy of each event of a run, as they came. */
  eventsOf(run: Run): readonly StatusEvent[] {
    return firstCopies(this.events.items.filter(({ runId }) => runId === run.runId));
  }

  /** The run's last event, once it is told. */
  end(run: Run): Promise<FlowStatusEvent> {
    return this.events.until(`the end of ${run.flowId}`, (events) => {
      const found = events.find(
        (event): event is FlowStatusEvent =>
          event.runId === run.runId &&
          event.eventType === 'FLOW_STATUS' &&
          ['COMPLETED', 'FAILED', 'STOPPED'].includes(event.status),
      );
      return found;
    });
  }

  step(run: Run, stepId: string, status: StepStatusEvent['status']): Promise<StepStatusEvent> {
    return this.events.until(`${run.flowId}.${stepId} ${status}`, (events) =>
      events.find(
        (event): event is StepStatusEvent =>
          event.runId === run.runId &&
          event.eventType === 'STEP_STATUS' &&
          event.stepId === stepId &&
          event.status === status,
      ),
    );
  }

  outcome(run: Run, command: string): Promise<OutcomeMessage> {
    return this.outcomes.until(`the outcome of ${command} ${run.flowId}`, (outcomes) =>
      outcomes.find((outcome) => outcome.runId === run.runId && outcome.command.endsWith(command)),
    );
  }
}

/** What every reader may rely on (G3): gap-free from 1 on, ids of its own, one end, after everything else. */
export function expectTrustworthy(events: readonly StatusEvent[]): void {
  expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => index + 1));
  expect(new Set(events.map(({ eventId }) => eventId)).size).toBe(events.length);
  expect(events.map(({ status }) => status)).not.toContain('PENDING');
  const ends = events.filter(
    (event) => event.eventType === 'FLOW_STATUS' && ['COMPLETED', 'FAILED', 'STOPPED'].includes(event.status),
  );
  expect(ends).toEqual([events.at(-1)]);
}

/** `stepId STATUS` or `STATUS` of each event, in their order. */
export function storyOf(events: readonly StatusEvent[]): readonly string[] {
  return events.map((event) => (event.eventType === 'FLOW_STATUS' ? event.status : `${event.stepId} ${event.status}`));
}

/** A repeat carries the id it had, and says the same. */
function firstCopies(events: readonly StatusEvent[]): readonly StatusEvent[] {
  const byId = new Map<string, StatusEvent>();
  for (const event of events) {
    const first = byId.get(event.eventId ?? '');
    if (first === undefined) byId.set(event.eventId ?? '', event);
    else expect(event).toEqual(first);
  }
  return [...byId.values()];
}

function textHeaders(headers: Readonly<Record<string, unknown>> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
}
