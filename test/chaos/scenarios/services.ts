/** What happens to Kafka and Redis: killed, standing still, back with less than they had. */
import { appendedBytes, forgetAfter } from '../ground.ts';
import type { Scenario } from '../scenario.ts';
import { PAST_SESSION_MS } from './acts.ts';

/** What a Redis with `appendfsync everysec` may lose, with some room to what engines allow for (2.5 s). */
const FORGOTTEN_MS = 1000;

export const killBroker: Scenario = {
  name: 'kill-broker',
  about: 'kill -9 of the Kafka broker, twice, started again after some seconds',
  faults: async (arena) => {
    for (const share of [0.25, 0.6]) {
      await arena.reached(share);
      await arena.fault('kill -9 the broker', () => arena.ground.kafka.kill9());
      await arena.wait(arena.chance.between(500, 5000));
      await arena.ground.kafka.restart();
    }
  },
};

export const killRedis: Scenario = {
  name: 'kill-redis',
  about: 'kill -9 of Redis, three times; it comes back with its append-only file',
  faults: async (arena) => {
    for (const share of [0.2, 0.45, 0.7]) {
      await arena.reached(share);
      await arena.fault('kill -9 Redis', () => arena.ground.redis.kill9());
      await arena.wait(arena.chance.between(0, 4000));
      await arena.ground.redis.restart();
    }
  },
};

export const redisGoesBack: Scenario = {
  name: 'redis-goes-back',
  about: 'Redis dies and comes back without its last second, while the engines live',
  faults: async (arena) => {
    const { redis, redisDir } = arena.ground;
    for (const share of [0.2, 0.45, 0.7]) {
      await arena.reached(share);
      const kept = appendedBytes(redisDir);
      await arena.wait(arena.chance.between(FORGOTTEN_MS / 4, FORGOTTEN_MS));
      await arena.fault('kill -9 Redis, which forgets its last moments', () => redis.kill9());
      const lost = appendedBytes(redisDir) - kept;
      forgetAfter(redisDir, kept);
      await arena.fault(`Redis comes back without its last ${lost} bytes`, () => redis.restart());
    }
  },
};

export const freezeRedis: Scenario = {
  name: 'freeze-redis',
  about: 'Redis stands still for some seconds and goes on, twice',
  faults: async (arena) => {
    for (const share of [0.25, 0.6]) {
      await arena.reached(share);
      await arena.fault('SIGSTOP Redis', () => arena.ground.redis.freeze());
      await arena.wait(arena.chance.between(1000, PAST_SESSION_MS));
      await arena.fault('SIGCONT Redis', () => arena.ground.redis.thaw());
    }
  },
};
