/** When two STARTs of one run are the same, and how a repeated one is answered (design 4.3). */
import { createHash } from 'node:crypto';
import type { JsonObject } from '@flowops/proto/json.ts';
import { type CommandAnswer, duplicate, rejected } from './outcomes.ts';

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
