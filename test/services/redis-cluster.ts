/** A real Redis Cluster on loopback: three primaries with all slots between them, and replicas on demand. */
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, LOOPBACK } from './ports.ts';
import { type RedisService, startRedis } from './redis.ts';

const PRIMARIES = 3;
const SLOTS = 16_384;
/** After which the others hold a silent node for failed: Redis' own default, for a machine that is busy. */
const NODE_TIMEOUT_MS = 15_000;
const JOIN_TIMEOUT_MS = 30_000;

export interface RedisClusterService {
  /** All primaries, comma-separated. */
  readonly url: string;
  readonly primaries: readonly RedisService[];
  /** The first is of the first primary, and so on. */
  readonly replicas: readonly RedisService[];
  /** Every node says that all slots are served: a node that was restarted refuses for two seconds more. */
  settled(): Promise<void>;
  /** Empties every primary. */
  flush(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @param options.replicas how many of the primaries have one
 * @param options.nodeTimeoutMs short for a test that waits for a failover
 */
export async function startRedisCluster(
  options: { readonly replicas?: number; readonly nodeTimeoutMs?: number } = {},
): Promise<RedisClusterService> {
  const { replicas: replicaCount = 0, nodeTimeoutMs = NODE_TIMEOUT_MS } = options;
  const starts = Array.from({ length: PRIMARIES + replicaCount }, () => startNode(nodeTimeoutMs));
  const nodes = await Promise.all(starts);
  try {
    const signal = AbortSignal.timeout(JOIN_TIMEOUT_MS);
    const [primaries, replicas] = [nodes.slice(0, PRIMARIES), nodes.slice(PRIMARIES)];
    await Promise.all(primaries.map((node, index) => giveSlots(node, index)));
    // Each has a configuration epoch of its own, else they would have to agree on that first.
    await Promise.all(nodes.map((node, index) => node.cli('CLUSTER', 'SET-CONFIG-EPOCH', `${index + 1}`)));
    const [first] = nodes;
    for (const node of nodes.slice(1)) {
      const bus = (await node.cli('CONFIG', 'GET', 'cluster-port')).match(/\d+/)?.[0] ?? '';
      await first?.cli('CLUSTER', 'MEET', LOOPBACK, `${node.port}`, bus);
    }
    await Promise.all(nodes.map((node) => knowsAll(node, nodes.length, signal)));
    await Promise.all(replicas.map((replica, index) => follow(replica, primaries[index], signal)));
    return {
      url: `redis://${primaries.map(({ port }) => `${LOOPBACK}:${port}`).join(',')}`,
      primaries,
      replicas,
      settled: async () => {
        const patience = AbortSignal.timeout(JOIN_TIMEOUT_MS);
        await Promise.all(nodes.map((node) => knowsAll(node, nodes.length, patience)));
      },
      flush: async () => {
        await Promise.all(primaries.map((node) => node.cli('FLUSHALL')));
      },
      stop: async () => {
        await Promise.all(nodes.map((node) => node.stop()));
      },
    };
  } catch (thrown) {
    await Promise.all(nodes.map((node) => node.stop()));
    throw thrown;
  }
}

async function startNode(nodeTimeoutMs: number): Promise<RedisService> {
  return startRedis({
    appendonly: 'always',
    settings: {
      databases: '1',
      'cluster-enabled': 'yes',
      'cluster-port': String(await freePort()),
      'cluster-node-timeout': String(nodeTimeoutMs),
    },
  });
}

async function giveSlots(node: RedisService, index: number): Promise<void> {
  const slotAt = (share: number) => Math.round((SLOTS * share) / PRIMARIES);
  await node.cli('CLUSTER', 'ADDSLOTSRANGE', `${slotAt(index)}`, `${slotAt(index + 1) - 1}`);
}

async function knowsAll(node: RedisService, count: number, signal: AbortSignal): Promise<void> {
  await until(signal, async () => {
    const info = await node.cli('CLUSTER', 'INFO');
    return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${count}`);
  });
}

async function follow(replica: RedisService, primary: RedisService | undefined, signal: AbortSignal): Promise<void> {
  const id = await primary?.cli('CLUSTER', 'MYID');
  if (id === undefined) throw new Error('a replica without a primary');
  await replica.cli('CLUSTER', 'REPLICATE', id);
  await until(signal, async () => (await replica.cli('INFO', 'replication')).includes('master_link_status:up'));
}

async function until(signal: AbortSignal, isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(50, undefined, { signal });
}
