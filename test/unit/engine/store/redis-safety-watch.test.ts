import { beforeEach, describe, expect, it } from 'vitest';
import { SafetyWatch } from '../../../../engine/store/redis-safety-watch.ts';

const lines: string[] = [];
const write = (_fields: object, message: string) => {
  lines.push(message);
};
const log = { debug: write, info: write, warn: write, error: write };
beforeEach(() => {
  lines.length = 0;
});

/** A server with these settings. */
function server(settings: Readonly<Record<string, string>>) {
  const all: Readonly<Record<string, string>> = {
    'maxmemory-policy': 'noeviction',
    appendonly: 'yes',
    appendfsync: 'always',
    ...settings,
  };
  return async (name: string, args: readonly (string | number)[]): Promise<unknown> => {
    const setting = String(args.at(-1));
    return name === 'config' ? [setting, all[setting]] : '';
  };
}

describe('every server of a Redis', () => {
  it('is refused with its name when it may lose runs, also after others were fine', async () => {
    const watch = new SafetyWatch({ allowUnsafe: false, log });
    await watch.admit(server({}), 'a');
    await expect(watch.admit(server({ appendonly: 'no' }), 'b')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/Redis at b may lose runs: appendonly is no.*REDIS_ALLOW_UNSAFE=true/),
    });
  });

  it('that may lose runs is used when that is allowed, and warned of once', async () => {
    const watch = new SafetyWatch({ allowUnsafe: true, log });
    for (let connects = 0; connects < 3; connects++) await watch.admit(server({ appendonly: 'no' }), 'a');
    expect(lines).toEqual([expect.stringContaining('used because REDIS_ALLOW_UNSAFE is set')]);
  });

  it('counts with its durability: the weakest is that of all', async () => {
    const watch = new SafetyWatch({ allowUnsafe: false, log });
    await watch.admit(server({}), 'a');
    expect(watch.durability(false)).toEqual({ description: 'redis AOF always', delayMs: 0 });
    await watch.admit(server({ appendfsync: 'everysec' }), 'b');
    expect(watch.durability(false)).toEqual({ description: 'redis AOF everysec', delayMs: 2_500 });
    expect(lines).toEqual([expect.stringContaining('Redis at b keeps less than at the start')]);
  });

  it('that can be replaced by a replica is as safe as everysec at most', async () => {
    const watch = new SafetyWatch({ allowUnsafe: false, log });
    await watch.admit(server({}), 'a');
    expect(watch.durability(true)).toEqual({
      description: 'redis AOF always, replicas may take over',
      delayMs: 2_500,
    });
  });
});
