/** A real primary with a replica, and three sentinels that put the replica in its place when it dies. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, LOOPBACK } from './ports.ts';
import { keepRunning, type RedisService, startRedis } from './redis.ts';
import { scratchFolder } from './scratch.ts';

const NAME = 'flows';
const SENTINELS = 3;
const QUORUM = 2;
/** After which a sentinel holds a silent primary for down. */
const DOWN_AFTER_MS = 1_000;
const FAILOVER_TIMEOUT_MS = 5_000;
const JOIN_TIMEOUT_MS = 30_000;

export interface RedisSentinelService {
  readonly url: string;
  readonly primary: RedisService;
  readonly replica: RedisService;
  readonly sentinels: readonly RedisService[];
  stop(): Promise<void>;
}

export async function startRedisSentinel(): Promise<RedisSentinelService> {
  const [primary, replica] = await Promise.all([
    startRedis({ appendonly: 'always' }),
    startRedis({ appendonly: 'always' }),
  ]);
  const nodes: RedisService[] = [primary, replica];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    const signal = AbortSignal.timeout(JOIN_TIMEOUT_MS);
    await replica.cli('REPLICAOF', LOOPBACK, `${primary.port}`);
    await until(signal, async () => (await replica.cli('INFO', 'replication')).includes('master_link_status:up'));
    const sentinels = await Promise.all(Array.from({ length: SENTINELS }, () => startSentinel(primary)));
    nodes.push(...sentinels);
    // They find each other and the replica through the primary.
    for (const sentinel of sentinels) {
      await until(signal, async () => {
        const [others, replicas] = [await listed(sentinel, 'SENTINELS'), await listed(sentinel, 'REPLICAS')];
        return others === SENTINELS - 1 && replicas === 1;
      });
    }
    const hosts = sentinels.map(({ port }) => `${LOOPBACK}:${port}`).join(',');
    return { url: `redis://${hosts}/0?sentinel=${NAME}`, primary, replica, sentinels, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}

async function startSentinel(primary: RedisService): Promise<RedisService> {
  const [dir, port] = [scratchFolder(), await freePort()];
  const file = join(dir, 'sentinel.conf');
  // It writes what it learns into its own file.
  writeFileSync(
    file,
    [
      `port ${port}`,
      `bind ${LOOPBACK}`,
      `dir ${dir}`,
      `sentinel monitor ${NAME} ${LOOPBACK} ${primary.port} ${QUORUM}`,
      `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${NAME} ${FAILOVER_TIMEOUT_MS}`,
      '',
    ].join('\n'),
  );
  return keepRunning(dir, port, [file, '--sentinel']);
}

async function listed(sentinel: RedisService, what: string): Promise<number> {
  const answer: unknown = JSON.parse(await sentinel.cli('SENTINEL', what, NAME));
  return Array.isArray(answer) ? answer.length : 0;
}

async function until(signal: AbortSignal, isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(50, undefined, { signal });
}
