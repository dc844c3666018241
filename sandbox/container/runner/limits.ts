/** The runner's own bounds. The limits of a step come with its Invoke. */

/** How long the process waits for the host to say that it has the Result. The host then ends the container anyway. */
export const ACK_WAIT_MS = 1_000;
/** Of the container's memory, what Node, its binary's data and the main thread take: measured with a plugin of a line. */
export const BASE_MEMORY_MB = 48;
/** Below this V8 does not start a thread. */
export const MIN_HEAP_MB = 16;
/** Where no limit of the container can be seen, its host has one; V8 wants a number. */
export const MAX_HEAP_MB = 16 * 1024;
/** The largest is V8's own choice on a large machine. */
export const MIN_YOUNG_MB = 6;
export const MAX_YOUNG_MB = 48;
/** Not one of Node's own. */
export const EXIT_UNUSABLE = 71;
