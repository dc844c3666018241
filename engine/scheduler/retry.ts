/** Backoff of attempts that ended by a fault of the infrastructure (G9). Pure. */

/** After this many faults in a row the step fails, naming the fault: together about 8 s of waiting. */
export const MAX_FAULTS_PER_STEP = 5;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 10_000;

/** @param faults from 1. */
export function backoffMs(faults: number): number {
  return Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (faults - 1));
}
