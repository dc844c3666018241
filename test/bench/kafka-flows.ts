/**
 * From a real Kafka to a real Kafka: `flowops engine` as its own process on Redis and Kafka; a client sends START and
 * waits for the final status.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silenceNegativeTimeouts } from '@flowops/engine/publishing/kafka-client.ts';
import { Kafka, logLevel } from 'kafkajs';
import { startKafka } from '../services/kafka.ts';
import { freshRedis } from '../services/redis.ts';
import { chain } from './engine-under-test.ts';
import { latencyRow, type Row } from './figures.ts';

export interface KafkaBenchOptions {
  readonly clone: string;
  readonly registry: string;
  readonly redisUrl: string;
  readonly flows: number;
  readonly say: (text: string) => void;
}

const READY_TIMEOUT_MS = 60_000;

export async function kafkaRows(options: KafkaBenchOptions): Promise<Row[]> {
  silenceNegativeTimeouts();
  const home = mkdtempSync(join(tmpdir(), 'flowops-bench-kafka-'));
  const redis = await freshRedis(options.redisUrl);
  const kafka = await startKafka({ partitions: 3 });
  const engine = await startEngineProcess(options, { home, redisUrl: redis.url, brokers: kafka.brokers });
  const client = await FlowClient.open(kafka.brokers);
  try {
    for (let warm = 0; warm < 20; warm++) await client.run();
    const times: number[] = [];
    for (let index = 0; index < options.flows; index++) times.push(await client.run());
    return [latencyRow('3 steps, Kafka to Kafka on Redis, one after the other', times, { target: '≤ 10 ms, aim 6' })];
  } finally {
    await client.close();
    await engine.stop();
    await kafka.stop();
    await redis.release();
    rmSync(home, { recursive: true, force: true });
  }
}

async function startEngineProcess(
  { clone, registry }: KafkaBenchOptions,
  services: { home: string; redisUrl: string; brokers: string },
): Promise<{ stop(): Promise<void> }> {
  const policy = join(clone, 'test', 'bench', 'policy.yaml');
  const child = spawn(process.execPath, [join(clone, 'bin', 'flowops.mjs'), 'engine'], {
    env: {
      ...process.env,
      KAFKA_BROKERS: services.brokers,
      REDIS_URL: services.redisUrl,
      FLOWOPS_HOME: services.home,
      PLUGIN_DIR: registry,
      SANDBOX_POLICY: policy,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    let log = '';
    const timer = setTimeout(() => reject(new Error(`the engine was not ready: ${log}`)), READY_TIMEOUT_MS);
    child.stderr.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-4_000);
      if (!log.includes('the engine is ready')) return;
      clearTimeout(timer);
      resolve();
    });
    void exited.then(() => reject(new Error(`the engine ended: ${log}`)));
  });
  return {
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

class FlowClient {
  readonly #kafka: Kafka;
  readonly #producer: ReturnType<Kafka['producer']>;
  readonly #consumer: ReturnType<Kafka['consumer']>;
  readonly #ends = new Map<string, () => void>();

  private constructor(kafka: Kafka) {
    this.#kafka = kafka;
    this.#producer = this.#kafka.producer();
    this.#consumer = this.#kafka.consumer({ groupId: `bench-${randomUUID()}`, maxWaitTimeInMs: 500 });
  }

  static async open(brokers: string): Promise<FlowClient> {
    const client = new FlowClient(new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }));
    await client.#producer.connect();
    await client.#consumer.connect();
    await client.#consumer.subscribe({ topic: 'execution.status', fromBeginning: true });
    const joined = new Promise<void>((resolve) => client.#consumer.on('consumer.group_join', () => resolve()));
    await client.#consumer.run({
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) client.#look(value?.toString() ?? '');
      },
    });
    await joined;
    return client;
  }

  async run(): Promise<number> {
    const runId = randomUUID();
    const ended = new Promise<void>((resolve) => this.#ends.set(runId, resolve));
    const value = JSON.stringify({
      eventType: 'EXECUTION_START',
      flowId: 'bench',
      runId,
      triggeredBy: null,
      steps: chain(3),
    });
    const startedMs = performance.now();
    await this.#producer.send({ topic: 'execution.commands', messages: [{ key: runId, value }] });
    await ended;
    this.#ends.delete(runId);
    return performance.now() - startedMs;
  }

  async close(): Promise<void> {
    await this.#consumer.disconnect();
    await this.#producer.disconnect();
  }

  #look(value: string): void {
    const event: unknown = JSON.parse(value);
    if (typeof event !== 'object' || event === null || !('runId' in event) || !('status' in event)) return;
    if ('stepId' in event || !['COMPLETED', 'FAILED', 'STOPPED'].includes(String(event.status))) return;
    this.#ends.get(String(event.runId))?.();
  }
}
