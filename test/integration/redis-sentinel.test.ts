/** The Redis store behind real sentinels: a failover, a wrong name, and a replica that may lose runs taking over. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connectRedisStore, type RedisStore } from '../../engine/store/redis-store.ts';
import { StoreUnavailable } from '../../engine/store/run-store.ts';
import { LOOPBACK } from '../services/ports.ts';
import { type RedisSentinelService, startRedisSentinel } from '../services/redis-sentinel.ts';

const RUN = { flowId: 'flow', runId: 'run' };
const lines: string[] = [];
/** Told as each line is logged. */
let onLine = (_line: string) => {};
const write = (_fields: object, message: string) => {
  lines.push(message);
  onLine(message);
};
const log = { debug: write, info: write, warn: write, error: write };

let service: RedisSentinelService;
beforeAll(async () => {
  service = await startRedisSentinel();
});
afterAll(() => service.stop());
beforeEach(() => {
  lines.length = 0;
});

function stateOf(store: RedisStore, wanted: string): Promise<void> {
  return new Promise((resolve) => {
    if (store.state === wanted) return resolve();
    const off = store.onState((state) => {
      if (state !== wanted) return;
      off();
      resolve();
    });
  });
}

function lineWith(text: string): Promise<void> {
  return new Promise((resolve) => {
    onLine = (line) => {
      if (line.includes(text)) resolve();
    };
  });
}

describe('sentinels', () => {
  it('that do not know the name are told so at start', async () => {
    const url = service.url.replace('sentinel=flows', 'sentinel=flow');
    const refused = connectRedisStore({ url, log });
    await expect(refused).rejects.toBeInstanceOf(StoreUnavailable);
    await expect(refused).rejects.toThrow(/cannot be reached .*correct REDIS_URL and the name of its primary/);
  });

  it('named without ?sentinel are recognised', async () => {
    const [sentinel] = service.sentinels;
    for (const hosts of [`${LOOPBACK}:${sentinel?.port}`, service.url.slice(8).replace(/\/.*/, '')]) {
      const refused = connectRedisStore({ url: `redis://${hosts}`, log });
      await expect(refused).rejects.toThrow(/is a sentinel: add \?sentinel=NAME/);
      await expect(refused).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    }
  });

  it('need not be asked: a server with a replica is taken for one that may be replaced', async () => {
    const store = await connectRedisStore({ url: service.primary.url, log });
    expect(store.durability).toEqual({ description: 'redis AOF always, replicas may take over', delayMs: 2_500 });
    await store.close();
  });

  it('lead to the primary, and to the replica when that is gone: it is used when it is as safe', async () => {
    const store = await connectRedisStore({ url: service.url, log });
    expect(store.durability).toEqual({ description: expect.stringContaining('always'), delayMs: 2_500 });
    const owner = await store.openPartition('0');
    await store.create(RUN, owner, { definition: 'D' });
    expect(await store.commit(RUN, owner.epoch, 1, { meta: { n: '1' } })).toEqual({ result: 'ok' });
    await service.primary.cli('WAIT', '1', '5000');
    await service.replica.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');

    let doubts = 0;
    store.onDoubt(() => {
      doubts += 1;
    });
    const down = stateOf(store, 'down');
    const refusal = lineWith('is not used: Redis at');
    await service.primary.kill9();
    await down;
    await refusal;
    expect(lines.at(-1)).toContain('maxmemory-policy is allkeys-lru');
    await expect(store.commit(RUN, owner.epoch, 2, {})).rejects.toBeInstanceOf(StoreUnavailable);
    await expect(store.commit(RUN, owner.epoch, 2, {})).rejects.toThrow(/maxmemory-policy is allkeys-lru/);

    const up = stateOf(store, 'up');
    await service.replica.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    await up;
    expect(doubts).toBe(1);
    expect(await store.read(RUN)).toMatchObject({ meta: { revision: 2, fields: { n: '1' } } });
    expect(await store.commit(RUN, owner.epoch, 2, { meta: { n: '2' } })).toEqual({ result: 'ok' });
    // The notes' own connection follows as well, in its own time.
    let isHeard = false;
    store.onNote(() => {
      isHeard = true;
    });
    const other = await connectRedisStore({ url: service.url, log });
    while (!isHeard) {
      await store.openPartition('0');
      await other.note(RUN, '0', 'hello');
    }
    await other.close();
    await store.close();
  });

  it('and the servers they name may want passwords of their own', async () => {
    for (const sentinel of service.sentinels) {
      await sentinel.cli('SENTINEL', 'SET', 'flows', 'auth-pass', 'of-the-data');
      await sentinel.cli('ACL', 'SETUSER', 'default', 'resetpass', '>of-the-sentinels');
    }
    // After the failover the replica is the primary.
    await service.replica.cli('CONFIG', 'SET', 'requirepass', 'of-the-data');
    const url = service.url.replace('//', '//:of-the-data@');
    const store = await connectRedisStore({ url, sentinelLogin: { password: 'of-the-sentinels' }, log });
    expect((await store.read(RUN))?.meta.revision).toBe(3);
    await store.close();
    await expect(connectRedisStore({ url, log })).rejects.toThrow(/cannot be reached|wants a password/);
  });
});
