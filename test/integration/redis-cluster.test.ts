/** The Redis store on a cluster that loses a primary, moves a slot, or is no cluster at all. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runKeys } from '../../engine/store/keys.ts';
import { connectRedisStore, type RedisStore } from '../../engine/store/redis-store.ts';
import { slotOf } from '../../engine/store/redis-topology.ts';
import { type Ownership, type RunRef, StoreUnavailable } from '../../engine/store/run-store.ts';
import { freePort, LOOPBACK } from '../services/ports.ts';
import { type RedisService, startRedis } from '../services/redis.ts';
import { type RedisClusterService, startRedisCluster } from '../services/redis-cluster.ts';

const lines: string[] = [];
const write = (_fields: object, message: string) => {
  lines.push(message);
};
const log = { debug: write, info: write, warn: write, error: write };
/** A cluster can be up and refuse for a moment. */
const AGAIN_MS = 20;
/** Enough that each primary has some. */
const RUNS = Array.from({ length: 60 }, (_, index): RunRef => ({ flowId: 'flow', runId: `r${index}` }));

let cluster: RedisClusterService;
let store: RedisStore;
let owner: Ownership;

beforeEach(() => {
  lines.length = 0;
});

function stateOf(which: RedisStore, wanted: string): Promise<void> {
  return new Promise((resolve) => {
    if (which.state === wanted) return resolve();
    const off = which.onState((state) => {
      if (state !== wanted) return;
      off();
      resolve();
    });
  });
}

/** Tries until the store takes it, as the engine does; a store that is behind is given what it lost. */
async function commitUntilTaken(run: RunRef, revision: number): Promise<void> {
  for (;;) {
    try {
      const answer = await store.commit(run, owner.epoch, revision, { meta: { n: `${revision}` } });
      if (answer.result === 'ok') return;
      if (answer.result !== 'behind') throw new Error(`${run.runId}: ${answer.result}`);
      for (let lost = answer.revision; lost < revision; lost++) await commitUntilTaken(run, lost);
    } catch (thrown) {
      if (!(thrown instanceof StoreUnavailable)) throw thrown;
      await stateOf(store, 'up');
      await pause(AGAIN_MS);
    }
  }
}

describe('a cluster', () => {
  beforeAll(async () => {
    cluster = await startRedisCluster({ replicas: 1, nodeTimeoutMs: 2_000 });
  });
  afterAll(() => cluster.stop());
  beforeEach(async () => {
    await cluster.flush();
    store = await connectRedisStore({ url: cluster.url, log });
    owner = await store.openPartition('0');
    await Promise.all(RUNS.map((run) => store.create(run, owner, { definition: 'D' })));
  });
  afterEach(() => store.close());

  const primaryOf = (run: RunRef): RedisService => {
    const third = Math.floor((slotOf(runKeys(run).meta) * 3) / 16_384);
    return cluster.primaries[third] ?? never();
  };

  it('is found by one node’s address alone, and keeps acknowledged writes as far as its replicas have them', async () => {
    const [first] = cluster.primaries;
    const single = await connectRedisStore({ url: `redis://${LOOPBACK}:${first?.port}`, log });
    expect(await Promise.all(RUNS.map(async (run) => (await single.read(run))?.definition))).toEqual(
      RUNS.map(() => 'D'),
    );
    // The servers sync at once, but a replica that takes over may lack the last writes.
    expect(single.durability).toEqual({ description: expect.stringContaining('always'), delayMs: 2_500 });
    await single.close();
  });

  it('has runs on every primary, and lists each partition once', async () => {
    expect(new Set(RUNS.map(primaryOf)).size).toBe(3);
    for (const partition of ['1', '2', '3', '4', '5']) await store.openPartition(partition);
    expect([...(await store.partitions())].sort()).toEqual(['0', '1', '2', '3', '4', '5']);
  });

  it('is reached through the nodes that are there when one of REDIS_URL is not', async () => {
    const more = await connectRedisStore({
      url: `redis://${LOOPBACK}:${await freePort()},${cluster.url.slice(8)}`,
      log,
    });
    expect(more.state).toBe('up');
    await more.close();
  });

  it('is followed when a slot moves: refused while it is on its way, taken by its new holder afterwards', async () => {
    const [run] = RUNS;
    if (run === undefined) throw never();
    const slot = slotOf(runKeys(run).meta);
    const from = primaryOf(run);
    const to = cluster.primaries.find((node) => node !== from) ?? never();
    const [fromId, toId] = [await from.cli('CLUSTER', 'MYID'), await to.cli('CLUSTER', 'MYID')];
    await to.cli('CLUSTER', 'SETSLOT', `${slot}`, 'IMPORTING', fromId);
    await from.cli('CLUSTER', 'SETSLOT', `${slot}`, 'MIGRATING', toId);
    const parts = Object.values(runKeys(run));
    await from.cli('MIGRATE', LOOPBACK, `${to.port}`, '', '0', '5000', 'KEYS', ...parts);
    await expect(store.commit(run, owner.epoch, 1, {})).rejects.toThrow(/on its way to another node/);
    for (const node of [to, from, ...cluster.primaries]) await node.cli('CLUSTER', 'SETSLOT', `${slot}`, 'NODE', toId);

    expect(await store.commit(run, owner.epoch, 1, { meta: { n: '1' } })).toEqual({ result: 'ok' });
    expect((await store.read(run))?.meta.revision).toBe(2);
    expect(store.state).toBe('up');
  });

  it('that has a primary restarted is down so long, says which it was, and goes on', async () => {
    const last = cluster.primaries[2] ?? never();
    const lost = stateOf(store, 'down');
    await last.kill9();
    await lost;
    // The first one's slot has moved.
    const its = RUNS.slice(1).find((run) => primaryOf(run) === last) ?? never();
    await expect(store.read(its)).rejects.toBeInstanceOf(StoreUnavailable);
    await last.restart();
    await stateOf(store, 'up');
    await commitUntilTaken(its, 1);
    expect((await store.read(its))?.meta.revision).toBe(2);
    await cluster.settled();
    expect(lines.join('\n')).toContain(`127.0.0.1:${last.port} is lost`);
  });

  it('that loses a primary goes on with its replica, and no run is lost', async () => {
    const [first] = cluster.primaries;
    await Promise.all(RUNS.map((run) => commitUntilTaken(run, 1)));
    await first?.cli('WAIT', '1', '5000');
    let doubts = 0;
    store.onDoubt(() => {
      doubts += 1;
    });
    const lost = stateOf(store, 'down');
    const work = RUNS.map(async (run) => {
      for (let revision = 2; revision <= 40; revision++) await commitUntilTaken(run, revision);
    });
    await first?.kill9();
    await lost;
    await Promise.all(work);
    expect(store.state).toBe('up');
    expect(doubts).toBe(1);
    for (const run of RUNS) expect((await store.read(run))?.meta).toMatchObject({ revision: 41, fields: { n: '40' } });
    expect(lines.join('\n')).toContain(`127.0.0.1:${first?.port} is lost`);
  });
});

describe('several hosts', () => {
  let plain: RedisService;
  beforeAll(async () => {
    plain = await startRedis();
  });
  afterAll(() => plain.stop());

  it('that are no cluster are refused with the two ways out', async () => {
    const refused = connectRedisStore({ url: `${plain.url},${plain.url.slice(8)}`, log });
    await expect(refused).rejects.toThrow(/is no node of a cluster: name one server, or add \?sentinel=NAME/);
    await expect(refused).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('of which none is there are told by address', async () => {
    const ports = [await freePort(), await freePort()];
    const url = `redis://${ports.map((port) => `${LOOPBACK}:${port}`).join(',')}`;
    await expect(connectRedisStore({ url, log })).rejects.toThrow(`${LOOPBACK}:${ports[0]} cannot be reached`);
  });
});

describe('a cluster with one node that may lose runs', () => {
  it('is refused, by the name of that node', async () => {
    const unsafe = await startRedisCluster();
    try {
      await unsafe.primaries[2]?.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
      const refused = connectRedisStore({ url: `redis://${LOOPBACK}:${unsafe.primaries[0]?.port}`, log });
      await expect(refused).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
      await expect(refused).rejects.toThrow(
        `:${unsafe.primaries[2]?.port} may lose runs: maxmemory-policy is allkeys-lru`,
      );
    } finally {
      await unsafe.stop();
    }
  });
});

function never(): never {
  throw new Error('there are runs and primaries');
}
