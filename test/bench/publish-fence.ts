/**
 * What KAFKA_PUBLISH_FENCE=transaction costs: status events through the publisher alone on a real broker, both kinds in
 * turn, so that the same load of the machine lies under both.
 */
import { type KafkaTransport, openKafkaTransport } from '@flowops/engine/commands/kafka-transport.ts';
import type { PublishFence } from '@flowops/engine/publishing/kafka-publisher.ts';
import { BENCH_LOG } from './engine-under-test.ts';
import { median, type Row, round } from './figures.ts';
import type { KafkaBench } from './kafka-flows.ts';

const PARTITIONS = 6;
const RUNS = 200;
const EVENTS_EACH = 10;
const ROUNDS = 5;
const CERTAIN = { delayMs: 0, sinceMs: Number.NEGATIVE_INFINITY, isStill: async () => true };
/** About as long as a COMPLETED event with its receipt. */
const EVENT = JSON.stringify({ eventType: 'STEP_STATUS', receipt: 'x'.repeat(600) });

export async function publishFenceRow({ kafka, isQuick, say }: KafkaBench): Promise<Row> {
  say('publishing with and without transactions');
  const [plain, fenced] = [await open(kafka.brokers, 'heartbeat'), await open(kafka.brokers, 'transaction')];
  const alone = { plain: [] as number[], fenced: [] as number[] };
  const rate = { plain: [] as number[], fenced: [] as number[] };
  for (let index = 0; index < (isQuick ? 60 : 300); index++) {
    alone.plain.push(await timeOf(() => publish(plain.transport, index)));
    alone.fenced.push(await timeOf(() => publish(fenced.transport, index)));
  }
  for (let count = 0; count < (isQuick ? 1 : ROUNDS); count++) {
    rate.plain.push((RUNS * EVENTS_EACH * 1000) / (await timeOf(() => publishMany(plain.transport))));
    rate.fenced.push((RUNS * EVENTS_EACH * 1000) / (await timeOf(() => publishMany(fenced.transport))));
  }
  await Promise.all([plain.close(), fenced.close()]);
  const figures = {
    heartbeatMs: round(median(alone.plain)),
    transactionMs: round(median(alone.fenced)),
    heartbeatPerSecond: Math.round(median(rate.plain)),
    transactionPerSecond: Math.round(median(rate.fenced)),
  };
  return {
    what: 'one event, KAFKA_PUBLISH_FENCE=transaction against heartbeat',
    value: `${figures.transactionMs} ms against ${figures.heartbeatMs} ms, median`,
    note: `${RUNS} runs at once: ${figures.transactionPerSecond}/s against ${figures.heartbeatPerSecond}/s`,
    figures,
  };
}

async function open(brokers: string, publishFence: PublishFence) {
  const name = `fence-${publishFence}`;
  const transport = await openKafkaTransport({
    ...{ brokers: [brokers], security: {}, clientId: name, groupId: name, statusEncoding: 'object', publishFence },
    topics: { commands: `${name}.c`, status: `${name}.s`, outcomes: `${name}.o`, deadLetters: `${name}.d` },
    partitions: PARTITIONS,
    log: BENCH_LOG,
  });
  const isAssigned = Promise.withResolvers<void>();
  const sink = {
    take: async () => undefined,
    partitionsAssigned: async () => isAssigned.resolve(),
    partitionsRevoked: async () => {},
  };
  const consumer = await transport.consume(sink, CERTAIN);
  await isAssigned.promise;
  const close = async () => {
    await consumer.close();
    await transport.close();
  };
  return { transport, close };
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  await work();
  return performance.now() - beganMs;
}

function publish({ publisher }: KafkaTransport, run: number): Promise<void> {
  return publisher.publish({ flowId: 'bench', runId: `run-${run % RUNS}` }, [EVENT], String(run % PARTITIONS));
}

/** Every run's events one after the other, all runs at once. */
async function publishMany(transport: KafkaTransport): Promise<void> {
  const runs = Array.from({ length: RUNS }, async (_, run) => {
    for (let event = 0; event < EVENTS_EACH; event++) await publish(transport, run);
  });
  await Promise.all(runs);
}
