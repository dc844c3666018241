/**
 * Two engines of one group on brokers that ask who is there, one with a user over SASL, one with a certificate, both
 * publishing in transactions; and an engine that is told to end while runs are under way, whose runs the other finishes.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Json } from '@flowops/proto/json.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KafkaService, startKafka } from '../services/kafka.ts';
import { type SecuredListeners, securedListeners } from '../services/kafka-secured.ts';
import { type RedisService, startRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { buildFixtures, fillRegistry, type Registry, startRegistry } from '../support/service-plugins.ts';
import { expectTrustworthy, storyOf } from '../support/service-topics.ts';
import { stepOf, World } from '../support/service-world.ts';

const RUNS = 8;
const CHAIN = ['s0', 's1', 's2', 's3', 's4'];
const STEPS: Json = CHAIN.map((stepId, index) =>
  stepOf(stepId, 'test.nap', { ms: '300', text: index === 0 ? '' : `s${index - 1}.text` }),
);
const STORY = ['RUNNING', ...CHAIN.flatMap((stepId) => [`${stepId} RUNNING`, `${stepId} COMPLETED`]), 'COMPLETED'];

const folder = scratchFolder();
let secured: SecuredListeners;
let kafka: KafkaService;
let redis: RedisService;
let registry: Registry;
let world: World;

beforeAll(async () => {
  secured = await securedListeners();
  const [startedKafka, startedRedis, { nap }] = await Promise.all([
    startKafka({ secured }),
    startRedis(),
    buildFixtures(['nap']),
  ]);
  [kafka, redis] = [startedKafka, startedRedis];
  fillRegistry(folder, { 'test.nap': nap });
  registry = await startRegistry(folder);
  const env = { KAFKA_TLS_CA: secured.authority.ca, KAFKA_PUBLISH_FENCE: 'transaction' };
  world = new World({ brokers: kafka.brokers, redisUrl: redis.url, pluginService: registry.address, env });
});

afterAll(async () => {
  await world.close();
  await registry.process.powerCut();
  await Promise.all([kafka.stop(), redis.stop()]);
  removeFolder(folder);
});

describe('two engines that prove who they are', () => {
  it('share the runs; when one is told to end, the other finishes them, and no step runs twice', async () => {
    const first = await world.startEngine({
      KAFKA_BROKERS: secured.saslBrokers,
      KAFKA_SASL_MECHANISM: 'scram-sha-512',
      KAFKA_SASL_USERNAME: secured.user.name,
      KAFKA_SASL_PASSWORD: secured.user.password,
    });
    const { cert, key } = secured.authority.issue('engine');
    const home = join(folder, 'second-home');
    mkdirSync(home);
    const second = await world.startEngine({
      ...{ KAFKA_BROKERS: secured.tlsBrokers, KAFKA_TLS_CERT: cert, KAFKA_TLS_KEY: key, FLOWOPS_HOME: home },
    });
    await second.stderr.until('its share', (lines) => lines.find((line) => line.includes('partitions taken over')));
    const starts = Array.from({ length: RUNS }, (_, index) => world.topics.start(`chain-${index}`, STEPS));
    const runs = await Promise.all(starts);
    await Promise.all(runs.map((run) => world.topics.step(run, 's0', 'COMPLETED')));
    first.signal('SIGTERM');
    expect((await first.exited).code).toBe(0);
    for (const run of runs) {
      expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED' });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      expect(storyOf(events)).toEqual(STORY);
    }
    expect([...first.stderr.items, ...second.stderr.items].join('\n')).not.toContain(secured.user.password);
  });
});
