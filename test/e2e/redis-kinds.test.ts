/** The service on a Redis Cluster that loses a primary under it, and with two formats of runs side by side. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { connectRedisStore } from '../../engine/store/redis-store.ts';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { type RedisClusterService, startRedisCluster } from '../services/redis-cluster.ts';
import { type FixtureRegistry, serveFixtures } from '../support/service-plugins.ts';
import { expectTrustworthy, storyOf } from '../support/service-topics.ts';
import { NEIGHBOUR_STORY, neighbourSteps, World } from '../support/service-world.ts';

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
let registry: FixtureRegistry;

beforeAll(async () => {
  registry = await serveFixtures(['nap']);
});
afterAll(async () => {
  await registry.close();
});

describe('the service on a Redis Cluster', () => {
  let cluster: RedisClusterService;
  let world: World;
  beforeAll(async () => {
    cluster = await startRedisCluster({ replicas: 1, nodeTimeoutMs: 2_000 });
    world = new World({
      brokers: inject('kafkaBrokers'),
      redisUrl: cluster.url,
      pluginService: registry.address,
    });
    await world.startEngine();
  });
  afterAll(async () => {
    await world.close();
    await cluster.stop();
  });

  it('runs flows to their end while a replica takes the place of a primary', async () => {
    const ids = Array.from({ length: 12 }, (_, index) => `cluster-${index}`);
    const runs = await Promise.all(ids.map((id) => world.topics.start(id, neighbourSteps(400))));
    const [first] = runs;
    if (first === undefined) throw new Error('there are runs');
    await world.engine.stderr.until('a step to run', () => world.stepLines(first).length > 0 || undefined);
    await cluster.primaries[0]?.kill9();
    for (const run of runs) {
      expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED', error: null });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      expect(storyOf(events)).toEqual(NEIGHBOUR_STORY);
    }
  });
});

describe('the service after STATE_FORMAT was raised, and lowered again', () => {
  let redis: FreshRedis;
  let world: World;
  beforeAll(async () => {
    redis = await freshRedis(inject('redisUrl'));
    world = new World({ brokers: inject('kafkaBrokers'), redisUrl: redis.url, pluginService: registry.address });
  });
  afterAll(async () => {
    await world.close();
    await redis.release();
  });

  it('takes up the runs of both formats, each in its own', async () => {
    await world.startEngine();
    const older = await world.topics.start('format-1', neighbourSteps(1_500));
    await world.engine.stderr.until('the older run', () => world.stepLines(older).length > 0 || undefined);
    await world.engine.powerCut();

    await world.startEngine({ STATE_FORMAT: '2' });
    const newer = await world.topics.start('format-2', neighbourSteps(1_500));
    await world.engine.stderr.until('the newer run', () => world.stepLines(newer).length > 0 || undefined);
    await world.engine.powerCut();

    await world.startEngine({ STATE_FORMAT: '1' });
    for (const run of [older, newer]) {
      expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED', error: null });
      expectTrustworthy(world.topics.eventsOf(run));
    }
    const store = await connectRedisStore({ url: redis.url, allowUnsafe: true, log });
    const formats = await Promise.all([older, newer].map(async (run) => (await store.read(run))?.meta.format));
    expect(formats).toEqual([1, 2]);
    await store.close();
  });
});
