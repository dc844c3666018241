/**
 * From a real Kafka to a real Kafka: `flowops engine` as its own process on Redis and Kafka; a client sends START and
 * waits for the final status.
 */
import { type KafkaService, startKafka } from '../services/kafka.ts';
import { freshRedis } from '../services/redis.ts';
import { EngineProcesses, topicsOf } from './engine-processes.ts';
import { chain } from './engine-under-test.ts';
import { latencyRow, type Row } from './figures.ts';
import { FlowClient } from './flow-client.ts';

/** What the rows on a real broker are measured with. */
export interface KafkaBench {
  readonly registry: string;
  readonly redisUrl: string;
  readonly kafka: KafkaService;
  readonly isQuick: boolean;
  readonly say: (text: string) => void;
}

/** Partitions of every topic: enough for three engines to share. */
const PARTITIONS = 6;

export function startBroker(): Promise<KafkaService> {
  return startKafka({ partitions: PARTITIONS });
}

export async function latencyRows({ registry, redisUrl, kafka, isQuick }: KafkaBench): Promise<Row[]> {
  const redis = await freshRedis(redisUrl);
  const services = { brokers: kafka.brokers, redisUrl: redis.url, registry, name: 'latency' };
  const engines = new EngineProcesses(services);
  try {
    await engines.start();
    const client = await FlowClient.open(kafka.brokers, topicsOf(services.name));
    for (let warm = 0; warm < 20; warm++) await client.run(chain(3));
    const times: number[] = [];
    for (let index = 0; index < (isQuick ? 40 : 200); index++) times.push(await client.run(chain(3)));
    await client.close();
    return [latencyRow('3 steps, Kafka to Kafka on Redis, one after the other', times, { target: '≤ 10 ms, aim 6' })];
  } finally {
    await engines.close();
    await redis.release();
  }
}
