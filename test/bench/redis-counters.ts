/** What clients asked of a Redis server, as the server itself tells (MONITOR): a script counts once, what it calls inside does not. */
import { Redis } from 'ioredis';

/** A question that nobody else asks: all that was asked before it has been told when it comes back. */
const MARK = 'flowops-bench-mark';

/** @returns by command name, calls while `work` ran. MONITOR slows the server down: time nothing meanwhile. */
export async function callsDuring(url: string, work: () => Promise<unknown>): Promise<ReadonlyMap<string, number>> {
  const redis = new Redis(url);
  const monitor = await redis.monitor();
  const calls = new Map<string, number>();
  const ended = Promise.withResolvers<void>();
  monitor.on('monitor', (_time: string, args: readonly string[], source: string) => {
    if (args[1] === MARK) ended.resolve();
    else if (source !== 'lua') {
      const name = (args[0] ?? '').toLowerCase();
      calls.set(name, (calls.get(name) ?? 0) + 1);
    }
  });
  try {
    await work();
    await redis.echo(MARK);
    await ended.promise;
    return calls;
  } finally {
    monitor.disconnect();
    redis.disconnect();
  }
}
