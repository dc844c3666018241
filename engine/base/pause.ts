/** The one real wait of the runs and of what they are composed with; a simulation gives its own in its place. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves after `ms`, or early and without an error when the signal aborts. */
export type Pause = (ms: number, signal: AbortSignal) => Promise<void>;

export const pause: Pause = async (ms, signal) => {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
};
