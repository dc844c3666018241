/** Bounds on what a guest asks of the program that runs it, and how its end is waited for; the same in every tier. */

/** setTimeout and setInterval that wait in one guest. */
export const MAX_GUEST_TIMERS = 1_000;
/** Progress more often than this helps nobody; the last one (1) always goes. */
export const MIN_PROGRESS_INTERVAL_MS = 50;
/** Of a message in a Result, UTF-16 units. */
export const MAX_MESSAGE_LENGTH = 8 * 1024;
/** How often the CPU of a running guest is looked at, and whether it is still there. */
export const POLL_MS = 50;
/** Code of a guest must have ended this long after it was told to (design 5.4). */
export const PROOF_OF_END_MS = 200;
/**
 * What guests may have waiting for their host: all bodies and results that one step may have under way, several times.
 * More than that ends the sandbox, which is bounded by its own memory limit too.
 */
export const MAX_UNREAD_BYTES = 96 * 1024 * 1024;
