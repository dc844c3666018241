/** The Redis store against a Redis that is lost, frozen, full, read-only, unsafe, or holds somebody else's data. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connectRedisStore, type RedisStore } from '../../engine/store/redis-store.ts';
import { type Ownership, type RunRef, StoreDamaged, StoreUnavailable } from '../../engine/store/run-store.ts';
import { freePort } from '../services/ports.ts';
import { type RedisService, startRedis } from '../services/redis.ts';
import { type RedisProxy, startRedisProxy } from './redis-store-proxy.ts';

const RUN: RunRef = { flowId: 'flow', runId: 'run' };
const NEIGHBOUR: RunRef = { flowId: 'flow', runId: 'neighbour' };
const KEY = 'flow:{flow:run}';
const DAY_MS = 24 * 60 * 60 * 1000;

const lines: string[] = [];
const write = (_fields: object, message: string) => {
  lines.push(message);
};
const log = { debug: write, info: write, warn: write, error: write };

let redis: RedisService;
beforeAll(async () => {
  redis = await startRedis({ appendonly: 'always' });
});
afterAll(() => redis.stop());
beforeEach(async () => {
  lines.length = 0;
  await redis.cli('FLUSHALL');
});

describe('at start', () => {
  const refusal = async (url: string): Promise<unknown> => {
    try {
      const store = await connectRedisStore({ url, log });
      await store.close();
      return undefined;
    } catch (thrown) {
      return thrown;
    }
  };

  it('a Redis that is not there is told within seconds, by address and without the password', async () => {
    const port = await freePort();
    const thrown = await refusal(`redis://user:hunter2@127.0.0.1:${port}/3`);
    expect(thrown).toBeInstanceOf(StoreUnavailable);
    expect(String(thrown)).toContain(`redis://127.0.0.1:${port}/3 cannot be reached`);
    expect(String(thrown)).toContain('ECONNREFUSED');
    expect(JSON.stringify([String(thrown), lines])).not.toContain('hunter2');
  });

  it('something that accepts and never answers is told within seconds', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const address = silent.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    expect(String(await refusal(`redis://127.0.0.1:${port}`))).toContain('cannot be reached (no answer)');
    silent.close();
  });

  it('a wrong password is told at once and not printed', async () => {
    await redis.cli('ACL', 'SETUSER', 'engine', 'on', '>right', '~*', '+@all');
    const thrown = await refusal(`redis://engine:wrong-one@127.0.0.1:${redis.port}`);
    expect(thrown).toBeInstanceOf(StoreUnavailable);
    expect(String(thrown)).toMatch(/does not take the user and password of REDIS_URL/);
    expect(String(thrown)).not.toContain('wrong-one');
  });

  it('a database that does not exist is an error, not database 0', async () => {
    const thrown = await refusal(`${redis.url}/99999`);
    expect(thrown).toBeInstanceOf(StoreUnavailable);
    expect(String(thrown)).toContain('DB index is out of range');
  });

  it('an abort ends the wait with its own reason', async () => {
    const stop = new AbortController();
    const port = await freePort();
    const waiting = connectRedisStore({ url: `redis://127.0.0.1:${port}`, log, signal: stop.signal });
    stop.abort(new Error('shutting down'));
    await expect(waiting).rejects.toThrow('shutting down');
  });

  it.each([
    ['maxmemory-policy', 'allkeys-lru', 'noeviction', 'drop running flows'],
    ['appendonly', 'no', 'yes', 'lose every run'],
    ['appendfsync', 'no', 'always', 'half a minute'],
  ])('%s %s is refused with the risk and the override, and accepted on demand', async (name, bad, good, risk) => {
    await redis.cli('CONFIG', 'SET', name, bad);
    try {
      const thrown = await refusal(redis.url);
      expect(thrown).toBeInstanceOf(FlowopsError);
      expect(thrown).toMatchObject({ code: 'CONFIG_INVALID' });
      for (const part of [`${name} is ${bad}`, risk, 'REDIS_ALLOW_UNSAFE']) expect(String(thrown)).toContain(part);

      const store = await connectRedisStore({ url: redis.url, allowUnsafe: true, log });
      expect(lines.join()).toContain(`${name} is ${bad}`);
      await store.close();
    } finally {
      await redis.cli('CONFIG', 'SET', name, good);
    }
  });

  it.each([
    ['always', 'redis AOF always', 0],
    ['everysec', 'redis AOF everysec', 2_500],
  ])('appendfsync %s is told as the durability', async (mode, description, delayMs) => {
    await redis.cli('CONFIG', 'SET', 'appendfsync', mode);
    const store = await connectRedisStore({ url: redis.url, log });
    expect(store.durability).toEqual({ description, delayMs });
    await store.close();
    await redis.cli('CONFIG', 'SET', 'appendfsync', 'always');
  });

  it('where CONFIG is not allowed, INFO is asked, and what nobody tells is warned of', async () => {
    await redis.cli('ACL', 'SETUSER', 'managed', 'on', '>pw', '~*', '+@all', '-config');
    const url = `redis://managed:pw@127.0.0.1:${redis.port}`;
    const store = await connectRedisStore({ url, log });
    expect(lines.join('\n')).toContain('does not tell its appendfsync');
    expect(lines.join('\n')).not.toContain('maxmemory-policy');
    expect(store.durability.delayMs).toBe(2_500);
    await store.close();

    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    expect(String(await refusal(url))).toContain('maxmemory-policy is allkeys-lru');
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
  });
});

describe('with a run', () => {
  let proxy: RedisProxy;
  let store: RedisStore;
  let owner: Ownership;

  beforeEach(async () => {
    proxy = await startRedisProxy(redis.port);
    store = await connectRedisStore({ url: proxy.url, log });
    owner = await store.openPartition('0');
    await store.create(RUN, owner, { definition: 'D', events: ['e1'] });
    await store.create(NEIGHBOUR, owner, { definition: 'D' });
  });
  afterEach(async () => {
    await store.close();
    await proxy.stop();
  });

  const nextState = () =>
    new Promise<string>((resolve) => {
      const off = store.onState((state) => {
        off();
        resolve(state);
      });
    });

  describe('a lost Redis', () => {
    it('rejects what waits, says so once, and works again by itself', async () => {
      const down = nextState();
      proxy.cutAtNextAnswer();
      await expect(store.commit(RUN, owner.epoch, 1, { events: ['e2'] })).rejects.toBeInstanceOf(StoreUnavailable);
      expect(await down).toBe('down');
      await expect(store.read(RUN)).rejects.toThrow(/not reachable/);
      expect(await nextState()).toBe('up');
      // The answer was lost, the commit was not.
      expect(await store.commit(RUN, owner.epoch, 1, { events: ['e2'] })).toEqual({ result: 'ok' });
      expect((await store.read(RUN))?.outbox).toEqual(['e1', 'e2']);
      expect(lines.filter((line) => line.includes('is lost'))).toHaveLength(1);
      expect(lines.filter((line) => line.includes('is back'))).toHaveLength(1);
    });

    it('that dies in the middle of 200 commits and comes back has lost none that it acknowledged', async () => {
      const runs = Array.from({ length: 200 }, (_, index) => ({ flowId: 'many', runId: `r${index}` }));
      await Promise.all(runs.map((run) => store.create(run, owner, { definition: 'D' })));
      const acknowledged = new Map<string, number>();
      let enough = () => {};
      const some = new Promise<void>((resolve) => {
        enough = resolve;
      });
      const work = runs.map(async (run) => {
        for (let revision = 1; ; revision++) {
          try {
            await store.commit(run, owner.epoch, revision, { meta: { n: `${revision}` } });
          } catch (thrown) {
            return thrown;
          }
          acknowledged.set(run.runId, revision + 1);
          if (revision === 5) enough();
        }
      });
      await some;
      await redis.kill9();
      for (const thrown of await Promise.all(work)) expect(thrown).toBeInstanceOf(StoreUnavailable);

      const up = nextState();
      await redis.restart();
      expect(await up).toBe('up');
      for (const run of runs) {
        const stored = await store.read(run);
        expect(stored?.meta.revision).toBeGreaterThanOrEqual(acknowledged.get(run.runId) ?? 1);
      }
    });

    it('that resets every connection tells notes again afterwards', async () => {
      const down = nextState();
      proxy.reset();
      expect(await down).toBe('down');
      expect(await nextState()).toBe('up');
      let isHeard = false;
      store.onNote(() => {
        isHeard = true;
      });
      // Its own connection comes back in its own time; what is told before that is in the inbox only.
      while (!isHeard) await store.note(RUN, '0', 'x');
      expect((await store.notes(RUN)).length).toBeGreaterThan(0);
    });

    it('that comes back is in doubt only when it was restarted meanwhile', async () => {
      const doubts: string[] = [];
      let why = 'a network that broke';
      let told = () => {};
      store.onDoubt(() => {
        doubts.push(`${why}, ${store.state}`);
        told();
      });
      const lost = nextState();
      proxy.cut();
      expect(await lost).toBe('down');
      expect(await nextState()).toBe('up');
      why = 'a restart';
      const doubt = new Promise<void>((resolve) => {
        told = resolve;
      });
      await redis.kill9();
      await redis.restart();
      await doubt;
      expect(doubts).toEqual(['a restart, up']);
    });

    it('that is silent rejects within seconds and is left', async () => {
      proxy.freeze();
      const calls = [store.commit(RUN, owner.epoch, 1, {}), store.read(RUN), store.clock()];
      for (const call of calls) await expect(call).rejects.toBeInstanceOf(StoreUnavailable);
      expect(store.state).toBe('down');
      const up = nextState();
      proxy.cut();
      expect(await up).toBe('up');
      expect(await store.commit(RUN, owner.epoch, 1, {})).toEqual({ result: 'ok' });
    });

    it('does not hinder closing', async () => {
      proxy.freeze();
      const call = store.read(RUN);
      call.catch(() => {});
      await store.close();
      await expect(call).rejects.toBeInstanceOf(StoreUnavailable);
    });

    it('that went back in time says how far, and takes the missing commits again', async () => {
      for (const revision of [1, 2, 3]) await store.commit(RUN, owner.epoch, revision, { events: [`r${revision}`] });
      const dump = await keysOf(KEY);
      await redis.cli('HSET', `${KEY}:meta`, '_revision', '2', '_sequence', '2');
      await redis.cli('LTRIM', `${KEY}:outbox`, '0', '1');
      expect(await store.commit(RUN, owner.epoch, 4, { events: ['r4'] })).toEqual({ result: 'behind', revision: 2 });
      for (const revision of [2, 3]) {
        expect(await store.commit(RUN, owner.epoch, revision, { events: [`r${revision}`] })).toEqual({ result: 'ok' });
      }
      expect(await keysOf(KEY)).toEqual(dump);
    });
  });

  describe('a Redis that refuses', () => {
    it('as a read-only replica is unavailable, and works when it is a primary again', async () => {
      await redis.cli('REPLICAOF', '127.0.0.1', `${await freePort()}`);
      await expect(store.commit(RUN, owner.epoch, 1, {})).rejects.toThrow(/read-only replica.*READONLY/);
      const up = store.state === 'up' ? nextState().then(nextState) : nextState();
      await redis.cli('REPLICAOF', 'NO', 'ONE');
      await up;
      expect(await store.commit(RUN, owner.epoch, 1, {})).toEqual({ result: 'ok' });
    });

    it('because its memory is full is unavailable, changes nothing, and goes on when there is room', async () => {
      const before = await keysOf(KEY);
      await redis.cli('CONFIG', 'SET', 'maxmemory', '1');
      try {
        const commit = store.commit(RUN, owner.epoch, 1, { events: ['e2'], acknowledged: 1 });
        await expect(commit).rejects.toBeInstanceOf(StoreUnavailable);
        await expect(commit).rejects.toThrow(/memory is full/);
      } finally {
        await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
      }
      expect(await keysOf(KEY)).toEqual(before);
      expect(await store.commit(RUN, owner.epoch, 1, { events: ['e2'] })).toEqual({ result: 'ok' });
    });
  });

  describe('somebody else’s data in our keys', () => {
    it('is damage that no method writes over, and the neighbour goes on', async () => {
      await redis.cli('DEL', `${KEY}:meta`);
      await redis.cli('SET', `${KEY}:meta`, 'junk');
      const calls: (() => Promise<unknown>)[] = [
        () => store.read(RUN),
        () => store.claim(RUN, owner),
        () => store.commit(RUN, owner.epoch, 1, {}),
        () => store.retire(RUN, owner, DAY_MS),
        () => store.create(RUN, owner, { definition: 'D' }),
        () => store.markStopped(RUN, DAY_MS),
      ];
      for (const call of calls) await expect(call()).rejects.toBeInstanceOf(StoreDamaged);
      expect(await redis.cli('GET', `${KEY}:meta`)).toBe('junk');
      expect(await store.commit(NEIGHBOUR, owner.epoch, 1, { events: ['x'] })).toEqual({ result: 'ok' });
    });

    it.each(['steps', 'context', 'outbox'])('in :%s leaves no half of a commit', async (part) => {
      await redis.cli('DEL', `${KEY}:${part}`);
      await redis.cli('SET', `${KEY}:${part}`, 'junk');
      const patch = {
        meta: { n: '1' },
        steps: { a: 'A' },
        outputs: { 'a.x': '1' },
        events: ['e2'],
        acknowledged: 1,
        definition: 'D2',
      };
      const before = await keysOf(KEY);
      await expect(store.commit(RUN, owner.epoch, 1, patch)).rejects.toBeInstanceOf(StoreDamaged);
      expect(await keysOf(KEY)).toEqual(before);
    });

    it('that is a hash of strange fields is damage, not a crash', async () => {
      await redis.cli('DEL', `${KEY}:meta`);
      await redis.cli('HSET', `${KEY}:meta`, '_format', '1', '_epoch', 'x', '_partition', '0');
      await expect(store.read(RUN)).rejects.toBeInstanceOf(StoreDamaged);
    });

    it('in the index is passed over with a warning', async () => {
      await redis.cli('ZADD', 'flowops:{p0}:active', '1', 'not a run');
      expect((await store.activeRuns('0')).map(({ runId }) => runId).sort()).toEqual(['neighbour', 'run']);
      expect(lines.join()).toContain('not a run');
    });

    it('under similar names is no partition', async () => {
      await redis.cli('SET', 'flowops:{p0}:other', '1');
      await redis.cli('SET', 'flowops:{p{x}:epoch', '1');
      expect(await store.partitions()).toEqual(['0']);
    });
  });

  it('a partition whose epoch and index Redis forgot gets both again, and a former owner stays refused', async () => {
    const next = await store.openPartition('0');
    await redis.cli('DEL', 'flowops:{p0}:epoch', 'flowops:{p0}:active');
    expect(await store.activeRuns('0')).toEqual([]);
    const many = Array.from({ length: 2_500 }, (_, index) => ({ flowId: 'many', runId: `r${index}` }));
    expect(await store.restorePartition(next, [RUN, NEIGHBOUR, ...many])).toBe('ok');
    expect(await store.activeRuns('0')).toEqual([RUN, NEIGHBOUR, ...many]);
    expect(await store.create({ flowId: 'flow', runId: 'late' }, owner, { definition: 'D' })).toEqual({
      result: 'fenced',
    });
  });

  it('a run of an unknown format is not claimed and not touched', async () => {
    await redis.cli('HSET', `${KEY}:meta`, '_format', '99');
    const before = await keysOf(KEY);
    expect(await store.claim(RUN, await store.openPartition('0'))).toEqual({ result: 'unknown-format', format: 99 });
    expect(await keysOf(KEY)).toEqual(before);
  });

  it('a create that was still on its way when a new owner found no run is refused', async () => {
    const late: RunRef = { flowId: 'flow', runId: 'late' };
    const next = await store.openPartition('0');
    expect(await store.claim(late, next)).toEqual({ result: 'missing' });
    // Its index entry came in time, before the new epoch; only the write of the run is late.
    await redis.cli('SET', 'flowops:{p0}:epoch', `${owner.epoch}`);
    expect(await store.create(late, owner, { definition: 'D' })).toEqual({ result: 'fenced' });
    expect(await store.read(late)).toBeUndefined();
    expect((await store.activeRuns('0')).map(({ runId }) => runId)).not.toContain('late');
    expect(await store.create(late, next, { definition: 'D' })).toEqual({ result: 'created' });
  });

  it('scripts that the server forgot are sent again', async () => {
    await redis.cli('SCRIPT', 'FLUSH');
    const results = await Promise.all([
      store.commit(RUN, owner.epoch, 1, {}),
      store.commit(NEIGHBOUR, owner.epoch, 1, {}),
    ]);
    expect(results).toEqual([{ result: 'ok' }, { result: 'ok' }]);
  });

  it('a commit is one EVALSHA and one round trip', async () => {
    await redis.cli('CONFIG', 'RESETSTAT');
    proxy.takeCounts();
    for (let revision = 1; revision <= 50; revision++) {
      await store.commit(RUN, owner.epoch, revision, { steps: { a: 'x' }, events: ['e'], acknowledged: revision });
    }
    expect(proxy.takeCounts()).toEqual({ up: 50, down: 50 });
    const stats = await redis.cli('INFO', 'commandstats');
    expect(stats).toMatch(/cmdstat_evalsha:calls=50,/);
    expect(stats).not.toMatch(/cmdstat_eval:/);
  });

  it('a create is two round trips, and the commits of many runs in one tick are few writes', async () => {
    proxy.takeCounts();
    await store.create({ flowId: 'flow', runId: 'third' }, owner, { definition: 'D' });
    expect(proxy.takeCounts()).toEqual({ up: 2, down: 2 });
    const runs = Array.from({ length: 100 }, (_, index) => ({ flowId: 'tick', runId: `r${index}` }));
    await Promise.all(runs.map((run) => store.create(run, owner, { definition: 'D' })));
    proxy.takeCounts();
    await Promise.all(runs.map((run) => store.commit(run, owner.epoch, 1, { steps: { a: 'x' } })));
    expect(proxy.takeCounts().up).toBeLessThan(10);
  });

  it('leaves nothing without an expiry when its runs are retired, but the index and the epoch', async () => {
    const all = { meta: { a: '1' }, steps: { s: 'S' }, outputs: { 's.x': '1' }, events: ['e'] };
    await store.commit(RUN, owner.epoch, 1, all);
    await store.markStopped({ flowId: 'flow', runId: 'unknown' }, DAY_MS);
    await store.claim({ flowId: 'flow', runId: 'nobody' }, owner);
    await store.note(RUN, '0', 'x');
    await store.retire(RUN, owner, DAY_MS);
    await store.note(RUN, '0', 'late');
    await store.retire(NEIGHBOUR, owner, 30 * DAY_MS);
    const ttl = async (key: string) => Math.ceil(Number(await redis.cli('PTTL', key)) / DAY_MS);
    expect(await ttl(`${KEY}:meta`)).toBe(7);
    for (const part of ['def', 'steps', 'context', 'outbox', 'inbox']) expect(await ttl(`${KEY}:${part}`)).toBe(1);
    expect(await ttl('flow:{flow:neighbour}:meta')).toBe(30);
    const keys = JSON.parse(await redis.cli('KEYS', '*')) as string[]; // redis-cli's own reply
    const lasting = [];
    for (const key of keys) if ((await redis.cli('PTTL', key)) === '-1') lasting.push(key);
    expect(lasting).toEqual(['flowops:{p0}:epoch']);
  });
});

describe('in cluster mode', () => {
  it('no call touches two slots in one script', async () => {
    // Without a port for its bus it takes its own and 10,000, which may be somebody's.
    const bus = { 'cluster-port': String(await freePort()) };
    const cluster = await startRedis({ settings: { 'cluster-enabled': 'yes', databases: '1', ...bus } });
    await cluster.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    for (let state = ''; !state.includes('cluster_state:ok'); ) state = await cluster.cli('CLUSTER', 'INFO');
    const store = await connectRedisStore({ url: cluster.url, log });
    const owner = await store.openPartition('0');
    await store.markStopped(NEIGHBOUR, DAY_MS);
    expect(await store.create(NEIGHBOUR, owner, { definition: 'D' })).toEqual({ result: 'stop-marked' });
    expect(await store.create(RUN, owner, { definition: 'D', events: ['e'] })).toEqual({ result: 'created' });
    expect(await store.commit(RUN, owner.epoch, 1, { outputs: { 'a.x': '1' } })).toEqual({ result: 'ok' });
    expect(await store.readAllOutputs(RUN)).toEqual(new Map([['a.x', '1']]));
    const next = await store.openPartition('0');
    expect(await store.create(RUN, owner, { definition: 'D' })).toEqual({ result: 'fenced' });
    expect(await store.claim(RUN, next)).toMatchObject({ result: 'claimed' });
    expect(await store.activeRuns('0')).toEqual([RUN]);
    expect(await store.partitions()).toEqual(['0']);
    expect(await store.retire(RUN, next, DAY_MS)).toBe('ok');
    expect(await store.claim(RUN, next)).toMatchObject({ result: 'claimed' });
    await store.close();
    await cluster.stop();
  });
});

/** Everything stored under a run's tag, key by key, as the server serialises it. */
async function keysOf(prefix: string): Promise<unknown> {
  const parts = ['meta', 'def', 'steps', 'context', 'outbox', 'inbox'];
  const dump = async (part: string): Promise<unknown> => {
    const key = `${prefix}:${part}`;
    switch (await redis.cli('TYPE', key)) {
      case 'hash':
        return JSON.parse(await redis.cli('EVAL', SORTED_HASH, '1', key));
      case 'list':
        return redis.cli('LRANGE', key, '0', '-1');
      case 'string':
        return redis.cli('GET', key);
      default:
        return null;
    }
  };
  return Promise.all(parts.map(dump));
}

const SORTED_HASH = `
  local flat = redis.call('HGETALL', KEYS[1])
  local pairs_ = {}
  for index = 1, #flat, 2 do pairs_[#pairs_ + 1] = flat[index] .. '=' .. flat[index + 1] end
  table.sort(pairs_)
  return pairs_`;
