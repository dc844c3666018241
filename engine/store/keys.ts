/**
 * The names of everything the engine keeps in Redis (design: Redis). All keys of a run carry one hash tag, so that a
 * run is one slot of a cluster; a partition's index and epoch are another slot. No script touches two slots.
 * Ids hold no `:`, `{` or `}`, which is why these names are unique.
 */
import { runIdSchema } from '@flowops/proto/ids.ts';
import type { RunRef } from './run-store.ts';

export interface RunKeys {
  /** Hash: the store's own fields (`_…`) and those of patches. */
  readonly meta: string;
  /** String: the definition. */
  readonly def: string;
  /** Hash: stepId → record; absent = never changed. */
  readonly steps: string;
  /** Hash: `stepId.outputKey` → JSON. */
  readonly context: string;
  /** List: unpublished events. */
  readonly outbox: string;
  /** List: notes of others to the owner. */
  readonly inbox: string;
}

export interface PartitionKeys {
  readonly epoch: string;
  /** Sorted set of `flowId:runId`, by the time each was added. */
  readonly active: string;
}

/** SCAN pattern over both keys of every partition. */
export const PARTITION_KEY_PATTERN = 'flowops:{p*}:*';

const PARTITION_NAME = /^[A-Za-z0-9._-]{1,128}$/;
const PARTITION_KEY = /^flowops:\{p([A-Za-z0-9._-]{1,128})\}:(?:epoch|active)$/;

export function runKeys(run: RunRef): RunKeys {
  const base = `flow:{${runName(run)}}`;
  return {
    meta: `${base}:meta`,
    def: `${base}:def`,
    steps: `${base}:steps`,
    context: `${base}:context`,
    outbox: `${base}:outbox`,
    inbox: `${base}:inbox`,
  };
}

export function partitionKeys(partition: string): PartitionKeys {
  checkPartition(partition);
  return { epoch: `flowops:{p${partition}}:epoch`, active: `flowops:{p${partition}}:active` };
}

/**
 * Epochs of two partitions are never the same number, up to this many partitions: a commit names its epoch but not its
 * partition, and two homes of one run (a store that lost it, and was given it anew elsewhere) must not pass for each other.
 */
const EPOCH_CLASSES = 256;

/** The lowest epoch of the partition from `atLeast` on. */
export function nextEpoch(partition: string, atLeast: number): number {
  const ahead = (epochClass(partition) - atLeast) % EPOCH_CLASSES;
  return atLeast + (ahead < 0 ? ahead + EPOCH_CLASSES : ahead);
}

/** What is left of every epoch of the partition when it is divided by EPOCH_CLASSES. */
export function epochClass(partition: string): number {
  if (/^\d{1,9}$/.test(partition)) return Number(partition) % EPOCH_CLASSES;
  let hash = 0;
  for (const byte of Buffer.from(partition)) hash = (hash * 31 + byte) % EPOCH_CLASSES;
  return hash;
}

/** The pub/sub channel of a partition's notes. Channels are not of one database, so that this names it. */
export function notesChannel(partition: string, database: number): string {
  checkPartition(partition);
  return `flowops:{p${partition}}:notes:${database}`;
}

/** `flowId:runId`: the member of the index. Throws RangeError for ids that would make names ambiguous. */
export function runName(run: RunRef): string {
  if (!isId(run.flowId) || !isId(run.runId)) {
    throw new RangeError(`not ids of a flow and a run: ${JSON.stringify([run.flowId, run.runId])}`);
  }
  return `${run.flowId}:${run.runId}`;
}

/** The inverse of `runName`; undefined for text that is none. */
export function parseRunName(text: string): RunRef | undefined {
  const [flowId, runId, ...more] = text.split(':');
  if (flowId === undefined || runId === undefined || more.length > 0) return undefined;
  return isId(flowId) && isId(runId) ? { flowId, runId } : undefined;
}

/** The partition whose index or epoch this key is. */
export function partitionOfKey(key: string): string | undefined {
  return PARTITION_KEY.exec(key)?.[1];
}

export function checkPartition(partition: string): void {
  if (!PARTITION_NAME.test(partition)) throw new RangeError(`not a partition name: ${JSON.stringify(partition)}`);
}

function isId(text: string): boolean {
  return runIdSchema.safeParse(text).success;
}
