/** Repeats a call to the store until it answers. For calls that are safe to repeat. */
import { StoreUnavailable } from '../store/run-store.ts';
import { pause } from './pause.ts';

const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 2_000;

/** How long to wait before try number `attempt` (from 0) is repeated, ms. */
export function storeRetryMs(attempt: number): number {
  return Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10));
}

/** @throws what the call throws, except StoreUnavailable while the signal is not aborted. */
export async function untilAvailable<Result>(call: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (thrown) {
      if (!(thrown instanceof StoreUnavailable) || signal.aborted) throw thrown;
      await pause(storeRetryMs(attempt), signal);
    }
  }
}
