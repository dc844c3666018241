/** What Redis holds of a run's steps, for tests that wait for a state which no event tells (a retry that waits). */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { FreshRedis } from '../services/redis.ts';
import type { Run } from './service-topics.ts';

const LOOK_MS = 20;
const PATIENCE_MS = 60_000;

const recordSchema = z.object({
  status: z.string(),
  attempt: z.number(),
  faults: z.number().optional(),
  /** Of a step that waits: when its next attempt is due, epoch ms; while the run is paused, what is left until then. */
  dueMs: z.number().optional(),
});
export type StoredStep = z.output<typeof recordSchema>;

/** stepId → record; a step that never changed has none. */
export async function storedSteps(redis: FreshRedis, { flowId, runId }: Run): Promise<ReadonlyMap<string, StoredStep>> {
  const flat = z.array(z.string()).parse(JSON.parse(await redis.cli('HGETALL', `flow:{${flowId}:${runId}}:steps`)));
  const steps = new Map<string, StoredStep>();
  for (let index = 0; index < flat.length; index += 2) {
    steps.set(flat[index] ?? '', recordSchema.parse(JSON.parse(flat[index + 1] ?? '')));
  }
  return steps;
}

/** Looks again and again, since the store tells nobody, until the step is as wanted. @throws after 60 s. */
export async function untilStored(
  redis: FreshRedis,
  run: Run,
  stepId: string,
  isWanted: (step: StoredStep) => boolean,
): Promise<StoredStep> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const step = (await storedSteps(redis, run)).get(stepId);
    if (step !== undefined && isWanted(step)) return step;
    if (performance.now() > deadlineMs) throw new Error(`${stepId} stayed as ${JSON.stringify(step)}`);
    await sleep(LOOK_MS);
  }
}
