/** The pauses between tries of one thing that has to succeed in the end: doubling, with jitter, bounded. */

export const FIRST_PAUSE_MS = 50;
/** Short enough that a Kafka or store that is back is used within a second or two. */
export const LONGEST_PAUSE_MS = 2000;

/**
 * @param failures how many tries failed so far, from 1
 * @param random in [0, 1); jitter takes up to half of the pause away, so that many do not come back at once
 */
export function retryPauseMs(failures: number, random: () => number = Math.random): number {
  const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
  return Math.round(pauseMs * (1 - random() / 2));
}
