/** What a Redis server itself counted. */
import { Redis } from 'ioredis';

/** Calls that clients made: a script counts once, what it calls inside does not. */
export async function commandCount(url: string): Promise<number> {
  const redis = new Redis(url);
  try {
    const stats = await redis.info('commandstats');
    let calls = 0;
    for (const [, name, count] of stats.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)) {
      if (name === 'evalsha' || name === 'eval' || name === 'fcall') calls += Number(count);
    }
    return calls;
  } finally {
    redis.disconnect();
  }
}
