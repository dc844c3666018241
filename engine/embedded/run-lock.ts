/**
 * Several processes share one FLOWOPS_HOME: each run has a partition of its own and a lock that the kernel frees with
 * the process. Who holds the lock may open the partition. The lock keeps two from working beside each other, the epoch
 * from writing: one that was waiting for a lock whose folder is just being removed is refused its writes by the next.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { runKey } from '@flowops/proto/statuses.ts';
import { lockHome } from '../store/home-lock.ts';
import type { RunRef } from '../store/run-store.ts';

const PARTITION_PREFIX = 'run-';
/** Of a SHA-256: two runs never meet, and the name is short, whatever the ids. */
const HASH_DIGITS = 32;
/** How long a program stands still at a run that another one has: enough for a lock that is just being taken. */
const PATIENCE_MS = 50;

/** The home of a new run. Of one that exists it is in the store. */
export function partitionOf(run: RunRef): string {
  return PARTITION_PREFIX + hashOf(run);
}

export interface RunLock {
  /** Idempotent. */
  release(): void;
}

/** @throws FlowopsError RUN_EXISTS when somebody runs it; StoreUnavailable when the folder cannot be written */
export function lockRun(home: string, run: RunRef): RunLock {
  const folder = join(home, 'running', hashOf(run));
  const locked = lockHome(folder, PATIENCE_MS);
  if (locked.result === 'taken') {
    const who = locked.owner === undefined ? 'another engine' : `an engine in process ${locked.owner.pid}`;
    throw new FlowopsError('RUN_EXISTS', `run ${run.runId} is being run by ${who}`);
  }
  return {
    release: () => {
      locked.lock.release();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function hashOf(run: RunRef): string {
  return createHash('sha256').update(runKey(run)).digest('hex').slice(0, HASH_DIGITS);
}
