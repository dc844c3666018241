/** Opens the Redis that an address names: one server, the primary that sentinels name, or a cluster. */
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { Log } from '../log.ts';
import { connectCluster } from './redis-cluster.ts';
import { connectRedis, type RedisCommand, type RedisNode } from './redis-connection.ts';
import { ifAllowed } from './redis-safety.ts';
import { SafetyWatch } from './redis-safety-watch.ts';
import type { RedisServers } from './redis-servers.ts';
import type { RedisAddress } from './redis-url.ts';
import type { Durability } from './run-store.ts';

export interface OpenRedisOptions {
  readonly address: RedisAddress;
  readonly allowUnsafe: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly log: Log;
}

export interface OpenedRedis {
  readonly servers: RedisServers;
  readonly durability: Durability;
}

/**
 * @throws FlowopsError CONFIG_INVALID when the address does not fit the servers, or one of them may lose runs
 * @throws StoreUnavailable when they cannot be reached within a few seconds, or refuse us
 */
export async function openRedis(options: OpenRedisOptions): Promise<OpenedRedis> {
  const { address, allowUnsafe, log } = options;
  const watch = new SafetyWatch({ allowUnsafe, log });
  if (address.hosts.length === 1 || address.sentinel !== undefined) {
    const opened = await openServer(options, watch);
    if (opened !== 'node of a cluster') return opened;
  }
  return openCluster(options, watch);
}

async function openServer(options: OpenRedisOptions, watch: SafetyWatch): Promise<OpenedRedis | 'node of a cluster'> {
  const { address, signal, log } = options;
  const admit = async (command: RedisCommand, label: string) => {
    if ((await modeOf(command)) === 'sentinel') throw sentinelUnnamed(label);
    await watch.admit(command, label);
  };
  const node = await connectRedis(address, { admit, signal, log });
  try {
    const isNode = (await modeOf(node.command)) === 'cluster';
    if (isNode && address.db !== 0) {
      throw wrongMode(address.label, 'is a node of a cluster, which has only database 0');
    }
    if (!isNode) {
      const canFailOver = address.sentinel !== undefined || (await hasReplicas(node.command));
      return { servers: singleServer(node, address), durability: watch.durability(canFailOver) };
    }
  } catch (thrown) {
    await node.close();
    throw thrown;
  }
  await node.close();
  return 'node of a cluster';
}

async function openCluster({ address, signal, log }: OpenRedisOptions, watch: SafetyWatch): Promise<OpenedRedis> {
  const admit = async (command: RedisCommand, label: string) => {
    const mode = await modeOf(command);
    if (mode === 'sentinel') throw sentinelUnnamed(label);
    if (mode === 'standalone') {
      throw wrongMode(label, 'is no node of a cluster: name one server, or add ?sentinel=NAME');
    }
    await watch.admit(command, label);
  };
  const servers = await connectCluster(address, { admit, signal, log });
  return { servers, durability: watch.durability(true) };
}

/** What the server calls itself: standalone, sentinel or cluster; undefined when it does not tell. */
async function modeOf(command: RedisCommand): Promise<string | undefined> {
  const info = await ifAllowed(command('info', ['server']));
  return typeof info === 'string' ? /^redis_mode:(\w+)/m.exec(info)?.[1] : undefined;
}

/** One of them may be put in the server's place, by whatever watches over it (a managed service does). */
async function hasReplicas(command: RedisCommand): Promise<boolean> {
  const info = await ifAllowed(command('info', ['replication']));
  return typeof info === 'string' && /^connected_slaves:[1-9]/m.test(info);
}

function sentinelUnnamed(label: string): FlowopsError {
  return wrongMode(label, 'is a sentinel: add ?sentinel=NAME to the address');
}

function wrongMode(label: string, what: string): FlowopsError {
  return new FlowopsError('CONFIG_INVALID', `REDIS_URL does not fit: Redis at ${label} ${what}`);
}

function singleServer(node: RedisNode, address: RedisAddress): RedisServers {
  return {
    label: node.label,
    get state() {
      return node.state;
    },
    onState: (listener) => node.onState(listener),
    run: (script, keys, args) => node.run(script, keys, args),
    command: (_key, name, args) => node.command(name, args),
    nodes: () => [node],
    hosts: () => address.hosts,
    close: () => node.close(),
  };
}
