/** Opens the Redis that an address names: one server, the primary that sentinels name, or a cluster. */
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { Log } from '../log.ts';
import { connectCluster } from './redis-cluster.ts';
import { connectRedis, type RedisCommand, type RedisNode } from './redis-connection.ts';
import { ServerIdentities } from './redis-identity.ts';
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
  /** See RunStore. */
  readonly onDoubt: (listener: () => void) => () => void;
}

type Opened = Omit<OpenedRedis, 'onDoubt'>;

/** What every server is looked at for. */
interface Looks {
  readonly watch: SafetyWatch;
  readonly identities: ServerIdentities;
}

/**
 * @throws FlowopsError CONFIG_INVALID when the address does not fit the servers, or one of them may lose runs
 * @throws StoreUnavailable when they cannot be reached within a few seconds, or refuse us
 */
export async function openRedis(options: OpenRedisOptions): Promise<OpenedRedis> {
  const { address, allowUnsafe, log } = options;
  const looks = { watch: new SafetyWatch({ allowUnsafe, log }), identities: new ServerIdentities() };
  const isOne = address.hosts.length === 1 || address.sentinel !== undefined;
  const server = isOne ? await openServer(options, looks) : 'node of a cluster';
  const opened = server === 'node of a cluster' ? await openCluster(options, looks) : server;
  looks.identities.watch(opened.servers);
  return { ...opened, onDoubt: (listener) => looks.identities.onDoubt(listener) };
}

async function openServer(
  { address, signal, log }: OpenRedisOptions,
  { watch, identities }: Looks,
): Promise<Opened | 'node of a cluster'> {
  const admit = async (command: RedisCommand, label: string) => {
    const { mode, runId } = await introduction(command);
    if (mode === 'sentinel') throw sentinelUnnamed(label);
    await watch.admit(command, label);
    identities.seen(label, runId);
  };
  const node = await connectRedis(address, { admit, signal, log });
  try {
    const isNode = (await introduction(node.command)).mode === 'cluster';
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

async function openCluster({ address, signal, log }: OpenRedisOptions, { watch, identities }: Looks): Promise<Opened> {
  const admit = async (command: RedisCommand, label: string) => {
    const { mode, runId } = await introduction(command);
    if (mode === 'sentinel') throw sentinelUnnamed(label);
    if (mode === 'standalone') {
      throw wrongMode(label, 'is no node of a cluster: name one server, or add ?sentinel=NAME');
    }
    await watch.admit(command, label);
    identities.seen(label, runId);
  };
  const onDropped = (label: string) => identities.forget(label);
  const servers = await connectCluster(address, { admit, onDropped, signal, log });
  return { servers, durability: watch.durability(true) };
}

interface Introduction {
  /** standalone, sentinel or cluster; undefined when it does not tell. */
  readonly mode: string | undefined;
  /** Of its process: another one after each start. */
  readonly runId: string | undefined;
}

async function introduction(command: RedisCommand): Promise<Introduction> {
  const info = await ifAllowed(command('info', ['server']));
  const field = (name: string) =>
    typeof info === 'string' ? new RegExp(`^${name}:(\\w+)`, 'm').exec(info)?.[1] : undefined;
  return { mode: field('redis_mode'), runId: field('run_id') };
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
