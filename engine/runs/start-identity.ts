/** When two STARTs of one run are the same, how a repeated one is answered, and when none can be told from another (design 4.3). */
import { createHash } from 'node:crypto';
import type { JsonObject } from '@flowops/proto/json.ts';
import type { CommandOrigin } from '../commands/command-sink.ts';
import { type CommandAnswer, duplicate, rejected } from './outcomes.ts';

/** A finished run's meta is kept at least this long, so that a repeated START is known. */
const MIN_META_RETENTION_MS = 7 * 24 * 60 * 60 * 1000;
const STALE_MARGIN_MS = 60 * 60 * 1000;

/** Same text for the same definition: producers write the same fields in the same order when they send again. */
export function hashOfStart(steps: unknown, inputs: JsonObject): string {
  return createHash('sha256')
    .update(JSON.stringify([steps ?? null, inputs]))
    .digest('hex');
}

export function compareStarts(known: string, given: string): CommandAnswer {
  return known === given
    ? duplicate('this run was started already')
    : rejected('RUN_EXISTS', 'a run of this flowId and runId exists with another definition');
}

/** The command may be older than what is kept of a run that it made. */
export function isStale(origin: CommandOrigin, nowMs: number, retentionMs: number): boolean {
  const keptMs = Math.max(retentionMs, MIN_META_RETENTION_MS);
  return nowMs - origin.recordTimeMs > keptMs - STALE_MARGIN_MS;
}

export const STALE: CommandAnswer = {
  outcome: 'STALE',
  code: null,
  message: 'the command is too old to be sure that its run was not made before',
};
