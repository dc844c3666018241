/**
 * What a failed Redis call means for the engine. Redis names the kind in the first word of an error reply (a word of
 * its protocol, also quoted by servers before 7 when a script meets it); everything that is no error reply is the
 * connection.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import { StoreDamaged, StoreUnavailable } from './run-store.ts';

/** Refusals that pass, or that an operator can lift, and what to do about each. */
const REFUSALS: Readonly<Record<string, string>> = {
  READONLY: 'it is a read-only replica now; let REDIS_URL name the primary',
  LOADING: 'it still reads its data from disk; wait',
  MISCONF: 'it cannot write to its disk; look at its log and free space',
  OOM: 'its memory is full (maxmemory); give it more or shorten RUN_RETENTION',
  BUSY: 'a script of somebody blocks it; wait, or end that with SCRIPT KILL',
  MASTERDOWN: 'its primary is gone; wait for the failover',
  NOREPLICAS: 'too few replicas are connected (min-replicas-to-write)',
  CLUSTERDOWN: 'the cluster has lost slots; wait for the failover',
  MOVED: 'it is one node of a cluster; name several of its nodes in REDIS_URL',
  TRYAGAIN: 'a slot of the cluster is on its way to another node; wait',
  ASK: 'a slot of the cluster is on its way to another node; wait',
  DENIED:
    'it is in protected mode and takes no connection from another machine; give it a password (requirepass) and put that into REDIS_URL, or bind it to the address you mean',
  NOAUTH: 'it wants a password; put it into REDIS_URL',
  WRONGPASS: 'it does not take the user and password of REDIS_URL',
  NOPERM: 'the user of REDIS_URL may not do what the engine needs (docs/redis.md lists it)',
};

/** Refusals that pass by themselves within seconds; at start they are waited for, any other ends it. */
const PASSING = new Set(['LOADING', 'BUSY', 'MASTERDOWN', 'CLUSTERDOWN', 'TRYAGAIN', 'ASK']);

const FIRST_WORD = /^([A-Z]{2,})\b/;
/** Before Redis 7: "ERR Error running script (call to f_…): @user_script:12: -READONLY You can't write …". */
const QUOTED_WORD = /: -([A-Z]{2,})\b/;

/** The code of an error reply, or undefined when the call failed otherwise. */
export function replyCode(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || thrown.name !== 'ReplyError') return undefined;
  const first = FIRST_WORD.exec(thrown.message)?.[1];
  return first === 'ERR' ? (QUOTED_WORD.exec(thrown.message)?.[1] ?? first) : first;
}

/** Whether the server answered, and will answer the same to another try: wrong password, no such database. */
export function isLastingRefusal(thrown: unknown): boolean {
  const code = replyCode(thrown);
  return code !== undefined && !PASSING.has(code);
}

/** @param label the server's address without its password */
export function redisFailure(thrown: unknown, label: string): Error {
  if (thrown instanceof StoreUnavailable || thrown instanceof StoreDamaged) return thrown;
  const code = replyCode(thrown);
  if (code === undefined) {
    return new StoreUnavailable(`Redis at ${label} did not answer: ${reasonOf(thrown)}`, { cause: thrown });
  }
  const remedy = REFUSALS[code];
  if (remedy !== undefined)
    return new StoreUnavailable(`Redis at ${label} refuses: ${remedy} (${code})`, { cause: thrown });
  if (code === 'WRONGTYPE') {
    return new StoreDamaged(`Redis at ${label} holds somebody else's data under a key of ours`, { cause: thrown });
  }
  return new Error(`Redis at ${label} failed: ${messageOf(thrown)}`, { cause: thrown });
}

/** The client's word for "the connection ended before the answer" is advice about one of its own options. */
function reasonOf(thrown: unknown): string {
  const isCutOff = thrown instanceof Error && thrown.name === 'MaxRetriesPerRequestError';
  return isCutOff ? 'the connection was lost before the answer came' : messageOf(thrown);
}
