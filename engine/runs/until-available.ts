/** Repeats a call to the store until it answers. For calls that are safe to repeat. */

import type { Pause } from '../base/pause.ts';
import { StoreUnavailable } from '../store/run-store.ts';
import { PartitionLost } from './owned-partitions.ts';

const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 2_000;

/** How long to wait before try number `attempt` (from 0) is repeated, ms. */
export function storeRetryMs(attempt: number): number {
  return Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10));
}

/** How a wait for the store passes; every RunContext is one. */
export interface Waiting {
  readonly pause: Pause;
  readonly signal: AbortSignal;
}

/** @throws what the call throws, except StoreUnavailable while the signal is not aborted and the partition is held. */
export async function untilAvailable<Result>(call: () => Promise<Result>, waiting: Waiting): Promise<Result> {
  const { pause, signal } = waiting;
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (thrown) {
      if (!(thrown instanceof StoreUnavailable) || thrown instanceof PartitionLost || signal.aborted) throw thrown;
      await pause(storeRetryMs(attempt), signal);
    }
  }
}
