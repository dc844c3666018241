/** Which partitions a server of a Redis holds, by looking at all of its keys. */
import { PARTITION_KEY_PATTERN, partitionOfKey } from './keys.ts';
import type { RedisNode } from './redis-connection.ts';
import { listReply, textReply } from './redis-reply.ts';
import { StoreDamaged } from './run-store.ts';

/** Keys looked at per SCAN round: about 1 ms of Redis' time. */
const SCAN_COUNT = 1_000;
/** 100 million keys; a SCAN that has not ended by then is not going to. */
const SCAN_ROUNDS = 100_000;

/** Looks at every key of a server: for listing only, and never while runs wait for it. */
export async function partitionsOf(node: RedisNode): Promise<readonly string[]> {
  const found = new Set<string>();
  let cursor = '0';
  for (let round = 0; round < SCAN_ROUNDS; round++) {
    const reply = await node.command('scan', [cursor, 'MATCH', PARTITION_KEY_PATTERN, 'COUNT', SCAN_COUNT]);
    const [next, keys] = listReply(reply);
    for (const key of listReply(keys)) {
      const partition = partitionOfKey(textReply(key));
      if (partition !== undefined) found.add(partition);
    }
    cursor = textReply(next);
    if (cursor === '0') return [...found];
  }
  throw new StoreDamaged(`Redis at ${node.label} holds too many keys to find the partitions among them`);
}
