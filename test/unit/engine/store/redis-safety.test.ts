import { describe, expect, it } from 'vitest';
import { inspectRedis } from '../../../../engine/store/redis-safety.ts';
import { StoreUnavailable } from '../../../../engine/store/run-store.ts';

/** A server that answers CONFIG GET from `config` and INFO from `info`, and refuses what is undefined. */
function server(config: Record<string, string> | undefined, info?: string) {
  return async (name: string, args: readonly string[]): Promise<unknown> => {
    const refusal = new Error(`NOPERM this user has no permissions to run the '${name}' command`);
    refusal.name = 'ReplyError';
    const last = args.at(-1) ?? '';
    if (name === 'config') {
      if (config === undefined) throw refusal;
      return config[last] === undefined ? [] : [last, config[last]];
    }
    if (info === undefined) throw refusal;
    return info;
  };
}

const SAFE = { 'maxmemory-policy': 'noeviction', appendonly: 'yes', appendfsync: 'everysec' };

describe('whether a Redis keeps what it acknowledges', () => {
  it('is clear for one that evicts nothing and writes its file every second', async () => {
    expect(await inspectRedis(server(SAFE))).toEqual({
      dangers: [],
      unchecked: [],
      durability: { description: 'redis AOF everysec', delayMs: 2_500 },
    });
  });

  it('names every danger at once', async () => {
    const { dangers } = await inspectRedis(server({ ...SAFE, 'maxmemory-policy': 'volatile-ttl', appendonly: 'no' }));
    expect(dangers).toEqual([
      expect.stringContaining('maxmemory-policy is volatile-ttl'),
      expect.stringContaining('appendonly is no'),
    ]);
  });

  it('is read from INFO where CONFIG is not allowed', async () => {
    const info = 'maxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n';
    const safety = await inspectRedis(server(undefined, info));
    expect(safety.dangers).toHaveLength(2);
    expect(safety.unchecked).toEqual([]);
  });

  it('is unchecked, not dangerous, where nothing is told', async () => {
    const safety = await inspectRedis(server(undefined));
    expect(safety.dangers).toEqual([]);
    expect(safety.unchecked).toEqual(['maxmemory-policy', 'appendonly', 'appendfsync']);
    expect(safety.durability.delayMs).toBe(2_500);
  });

  it('is not guessed when the connection fails meanwhile', async () => {
    const failing = async () => {
      throw new StoreUnavailable('lost');
    };
    await expect(inspectRedis(failing)).rejects.toThrow('lost');
  });
});
