/** The services of the tests themselves: nothing outlives who started it, nothing is shared by accident. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { freshRedis, type RedisService, startRedis } from '../services/redis.ts';
import { until } from './kafka-world.ts';

describe('a Redis of the test', () => {
  let redis: RedisService | undefined;
  afterEach(() => redis?.stop());

  it('comes back after kill -9 with what it had on disk', async () => {
    redis = await startRedis({ appendonly: 'always' });
    await redis.cli('SET', 'key', 'value');
    await redis.kill9();
    await expect(redis.cli('PING')).rejects.toThrow();
    await redis.restart();
    expect(await redis.cli('GET', 'key')).toBe('value');
  });

  it('answers nothing while it is frozen, and then what it was asked', async () => {
    redis = await startRedis();
    redis.freeze();
    let isAnswered = false;
    const answer = redis.cli('PING').finally(() => {
      isAnswered = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isAnswered).toBe(false);
    redis.thaw();
    expect(await answer).toBe('PONG');
  });

  it('dies with the process that started it, even when that is killed', async () => {
    const script = `
      const { startRedis } = await import(${JSON.stringify(new URL('../services/redis.ts', import.meta.url).href)});
      const { url } = await startRedis();
      console.log(url);
      setInterval(() => {}, 1000);`;
    const starter = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [url] = await once(createInterface(starter.stdout), 'line');
    expect(await isThere(url)).toBe(true);
    starter.kill('SIGKILL');
    await until('its end', async () => !(await isThere(url)));
  });
});

describe('freshRedis', () => {
  it('gives every test an empty database of its own, and empties it afterwards', async () => {
    const [first, second] = await Promise.all([freshRedis(inject('redisUrl')), freshRedis(inject('redisUrl'))]);
    expect(first.database).not.toBe(second.database);
    await first.cli('SET', 'key', 'value');
    expect(await second.cli('DBSIZE')).toBe('0');
    await first.release();
    expect(await first.cli('DBSIZE')).toBe('0');
    await second.release();
  });
});

async function isThere(url: string): Promise<boolean> {
  try {
    await (await freshRedis(url)).release();
    return true;
  } catch {
    return false;
  }
}
