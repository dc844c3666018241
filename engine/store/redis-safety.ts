/**
 * Whether a Redis keeps what it acknowledges: it must not evict keys, and must write an append-only file. Where CONFIG
 * is not allowed (managed services), INFO tells the most of it; what nobody tells is reported as unchecked.
 */
import { replyCode } from './redis-failure.ts';
import type { Durability } from './run-store.ts';

/** Under everysec a write is on disk a second later, two when the disk is slow, plus a margin (design 4.3). */
export const EVERYSEC_DELAY_MS = 2_500;

export interface RedisSafety {
  readonly durability: Durability;
  /** Each: the setting, as it is, and what it risks. Empty when the engine may use this Redis. */
  readonly dangers: readonly string[];
  /** Settings that could not be read. */
  readonly unchecked: readonly string[];
}

type Command = (name: string, args: readonly string[]) => Promise<unknown>;

export async function inspectRedis(command: Command): Promise<RedisSafety> {
  const [policy, appendonly, appendfsync] = await Promise.all([
    setting(command, 'maxmemory-policy', { section: 'memory', field: 'maxmemory_policy' }),
    setting(command, 'appendonly', { section: 'persistence', field: 'aof_enabled' }),
    setting(command, 'appendfsync'),
  ]);
  const hasAof = appendonly === undefined ? undefined : appendonly === 'yes' || appendonly === '1';
  const unchecked = [
    ...(policy === undefined ? ['maxmemory-policy'] : []),
    ...(hasAof === undefined ? ['appendonly'] : []),
    ...(hasAof !== false && appendfsync === undefined ? ['appendfsync'] : []),
  ];
  return { durability: durabilityOf(hasAof, appendfsync), dangers: dangersOf(policy, hasAof, appendfsync), unchecked };
}

function dangersOf(
  policy: string | undefined,
  hasAof: boolean | undefined,
  appendfsync: string | undefined,
): readonly string[] {
  const dangers: string[] = [];
  if (policy !== undefined && policy !== 'noeviction') {
    dangers.push(`maxmemory-policy is ${policy}: a full Redis would drop running flows (set noeviction)`);
  }
  if (hasAof === false) {
    dangers.push('appendonly is no: a restart of Redis would lose every run (set appendonly yes)');
  } else if (appendfsync === 'no') {
    dangers.push('appendfsync is no: a crash could lose half a minute of accepted work (set everysec or always)');
  }
  return dangers;
}

function durabilityOf(hasAof: boolean | undefined, appendfsync: string | undefined): Durability {
  if (hasAof === false) return { description: 'redis without AOF (unsafe)', delayMs: 0 };
  switch (appendfsync) {
    case 'always':
      return { description: 'redis AOF always', delayMs: 0 };
    case 'no':
      return { description: 'redis AOF without fsync (unsafe)', delayMs: EVERYSEC_DELAY_MS };
    case 'everysec':
      return { description: 'redis AOF everysec', delayMs: EVERYSEC_DELAY_MS };
    default:
      return { description: 'redis AOF, fsync unknown (taken for everysec)', delayMs: EVERYSEC_DELAY_MS };
  }
}

async function setting(
  command: Command,
  name: string,
  info?: { readonly section: string; readonly field: string },
): Promise<string | undefined> {
  const fromConfig = await ifAllowed(command('config', ['GET', name]));
  if (Array.isArray(fromConfig) && typeof fromConfig[1] === 'string') return fromConfig[1];
  if (info === undefined) return undefined;
  const text = await ifAllowed(command('info', [info.section]));
  if (typeof text !== 'string') return undefined;
  return text
    .split('\r\n')
    .find((line) => line.startsWith(`${info.field}:`))
    ?.slice(info.field.length + 1);
}

/** A refusal of this one command (NOPERM, unknown or renamed: ERR) is no answer; other failures stay failures. */
export async function ifAllowed(reply: Promise<unknown>): Promise<unknown> {
  try {
    return await reply;
  } catch (thrown) {
    const code = replyCode(thrown instanceof Error ? (thrown.cause ?? thrown) : thrown);
    if (code === 'NOPERM' || code === 'ERR') return undefined;
    throw thrown;
  }
}
