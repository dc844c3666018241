/**
 * An engine under test with everything around it: real Kafka, Redis and plugin service, `flowops engine` as a real
 * process with a home and topics of its own. `close` ends what was started here and leaves nothing behind.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Json } from '@flowops/proto/json.ts';
import { z } from 'zod';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { type FlowopsProcess, startFlowops } from './service-process.ts';
import { type Run, type TopicNames, Topics } from './service-topics.ts';

/** Every plugin may run in the isolate tier, nothing is granted. */
export const POLICY = `version: 1
rules:
  - match: { plugin: "*", unsigned: true }
    tier: isolate
    limits: { memoryMb: 64, wallMs: 30000 }
    concurrent: 8
`;
const READY = '"msg":"the engine is ready"';
const LINES_TOLD = 30;

export interface WorldOptions {
  /** `host:port`. */
  readonly brokers: string;
  readonly redisUrl: string;
  readonly pluginService: string;
  /** Default: names that nobody else has. */
  readonly topics?: TopicNames;
  readonly env?: Readonly<Record<string, string>>;
  /** Text of the sandbox policy. */
  readonly policy?: string;
}

export const EXISTING_TOPICS: TopicNames = {
  commands: 'execution.commands',
  status: 'execution.status',
  outcomes: 'execution.outcomes',
  deadLetters: 'execution.commands.dlq',
};

/** One line of a plugin, as the engine's log has it at debug. */
const stepLineSchema = z.object({ runId: z.string(), stepId: z.string(), msg: z.string() });
export type StepLine = z.output<typeof stepLineSchema>;

export class World {
  readonly topics: Topics;
  readonly groupId: string;
  readonly home: string;
  /** Every life of the engine, the last one at the end. */
  readonly lives: FlowopsProcess[] = [];
  readonly #folder: string;
  readonly #env: Readonly<Record<string, string>>;
  #isOpen = false;

  constructor(options: WorldOptions) {
    this.#folder = scratchFolder();
    this.home = join(this.#folder, 'home');
    mkdirSync(this.home);
    const policy = join(this.#folder, 'policy.yaml');
    writeFileSync(policy, options.policy ?? POLICY);
    const id = randomUUID().slice(0, 8);
    const names = options.topics ?? {
      commands: `${id}.commands`,
      status: `${id}.status`,
      outcomes: `${id}.outcomes`,
      deadLetters: `${id}.dlq`,
    };
    this.groupId = options.topics === undefined ? `engine-${id}` : 'execution-engine';
    this.topics = new Topics(options.brokers, names, () => this.logTail());
    this.#env = {
      KAFKA_BROKERS: options.brokers,
      KAFKA_GROUP_ID: this.groupId,
      KAFKA_COMMANDS_TOPIC: names.commands,
      KAFKA_STATUS_TOPIC: names.status,
      KAFKA_OUTCOMES_TOPIC: names.outcomes,
      KAFKA_DLQ_TOPIC: names.deadLetters,
      REDIS_URL: options.redisUrl,
      PLUGIN_SERVICE_ADDRESS: options.pluginService,
      SANDBOX_POLICY: policy,
      SANDBOX_WORKERS: '3',
      FLOWOPS_HOME: this.home,
      LOG_LEVEL: 'debug',
      HTTP_PORT: '0',
      ...options.env,
    };
  }

  get engine(): FlowopsProcess {
    const engine = this.lives.at(-1);
    if (engine === undefined) throw new Error('no engine was started');
    return engine;
  }

  /** Starts `flowops engine` and waits until it takes commands. A second one beside it needs a FLOWOPS_HOME of its own. */
  async startEngine(more: Readonly<Record<string, string | undefined>> = {}): Promise<FlowopsProcess> {
    const engine = this.launch(more);
    await engine.stderr.until('the engine to be ready', (lines) => lines.find((line) => line.includes(READY)));
    if (!this.#isOpen) {
      this.#isOpen = true;
      await this.topics.open();
    }
    return engine;
  }

  /** Starts it without waiting for anything. */
  launch(more: Readonly<Record<string, string | undefined>> = {}): FlowopsProcess {
    const engine = startFlowops(['engine'], { cwd: this.#folder, env: { ...this.#env, ...more } });
    this.lives.push(engine);
    return engine;
  }

  /** What plugins logged, by every life of the engine. */
  stepLines(run: Run): readonly StepLine[] {
    return this.lives.flatMap(({ stderr }) => stepLinesOf(stderr.items, run));
  }

  logTail(): string {
    return (
      this.lives
        .at(-1)
        ?.stderr.items.filter((line) => !line.includes('kafkajs'))
        .slice(-LINES_TOLD)
        .join('\n') ?? '(no engine)'
    );
  }

  async close(): Promise<void> {
    if (this.#isOpen) await this.topics.close();
    for (const engine of this.lives) await engine.powerCut();
    removeFolder(this.#folder);
  }
}

/** @param lines of an engine's log */
export function stepLinesOf(lines: readonly string[], run: Run): readonly StepLine[] {
  return lines.flatMap((line) => {
    if (!line.includes(run.runId) || !line.includes('"stepId"')) return [];
    const read = stepLineSchema.safeParse(JSON.parse(line));
    return read.success ? [read.data] : [];
  });
}

/** A step as the existing producer writes it, absent values as null. */
export function stepOf(stepId: string, pluginId: string | null, inputs: Json = {}, config: Json = null): Json {
  return {
    ...{ stepId, pluginId, type: 'ACTION', inputs, outputs: {} },
    ...{ condition: null, branches: null, children: null, config },
  };
}

/** Three steps one after the other, for whoever must not notice what happens beside it. */
export function neighbourSteps(napMs = 50): Json {
  const ms = String(napMs);
  return [
    stepOf('first', 'test.nap', { ms, text: 'a' }),
    stepOf('second', 'test.nap', { ms, text: 'first.text' }),
    stepOf('third', 'test.nap', { ms, text: 'second.text' }),
  ];
}

export const NEIGHBOUR_STORY = [
  'RUNNING',
  ...['first RUNNING', 'first COMPLETED', 'second RUNNING', 'second COMPLETED', 'third RUNNING', 'third COMPLETED'],
  'COMPLETED',
];
