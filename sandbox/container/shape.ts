/** The shape of the container that a step needs: what its policy gives it, on this image. Pure. */
import type { TierRequest } from '../tier.ts';
import type { ImageFacts } from './docker-engine.ts';
import { type ContainerShape, shapeKey } from './hardening.ts';
import { MAX_AGE_MS, type PoolShape } from './pool.ts';

/** From the step to its first instruction, its grace at the end, and the pool that looks at ages now and then. */
const SLACK_MS = 60_000;
/** Steps with short limits share containers: nobody is hurt by a PID 1 that would wait a minute longer. */
const MIN_WALL_SECONDS = 64;
/** PID 1 takes no longer life than a day (init/flowops-init.c). */
const MAX_LIFE_SECONDS = 86_400;

export interface KeyedShape extends ContainerShape, PoolShape {}

/** The longest wall limit that PID 1 can stand behind. */
export const MAX_WALL_MS = MAX_LIFE_SECONDS * 1000 - MAX_AGE_MS - SLACK_MS;

export function shapeOf({ limits, container, policyHash }: TierRequest, image: ImageFacts): KeyedShape {
  const shape: ContainerShape = {
    imageId: image.id,
    imageEnv: image.env,
    runtime: container.runtime,
    memoryMb: limits.memoryMb,
    pids: container.pids,
    cpus: container.cpus,
    tmpfsMb: container.tmpfsMb,
    lifeSeconds: lifeSeconds(limits.wallMs),
    policyHash,
  };
  return { ...shape, key: shapeKey(shape) };
}

/** In powers of two, so that a flow's own timeouts do not make a key for each of its steps. */
function lifeSeconds(wallMs: number): number {
  const wallSeconds = Math.max(MIN_WALL_SECONDS, 2 ** Math.ceil(Math.log2(wallMs / 1000)));
  return Math.min(MAX_LIFE_SECONDS, wallSeconds + Math.ceil((MAX_AGE_MS + SLACK_MS) / 1000));
}
