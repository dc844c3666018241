/** What the store needs of the Redis that REDIS_URL names, whatever it consists of (redis-open.ts chooses). */
import type { ConnectionState, RedisNode } from './redis-connection.ts';
import type { TaggedReply } from './redis-reply.ts';
import type { RedisScript } from './redis-scripts.ts';
import type { RedisHost } from './redis-url.ts';

export interface RedisServers {
  readonly label: string;
  readonly state: ConnectionState;
  /** Tells each change; the result ends that. */
  onState(listener: (state: ConnectionState) => void): () => void;
  /** All keys are of one slot. */
  run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<TaggedReply>;
  /** A plain command, on the server that holds `key`. The reply is to be parsed. */
  command(key: string, name: string, args: readonly (string | number)[]): Promise<unknown>;
  /** Every server that holds keys of its own. */
  nodes(): readonly RedisNode[];
  /** Where pub/sub may be listened to; messages reach all of them. */
  hosts(): readonly [RedisHost, ...RedisHost[]];
  close(): Promise<void>;
}
