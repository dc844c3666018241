/** The worker's own bounds. The limits of a step come with its Invoke; these protect the worker beside them. */

/** Attempts in one worker at a time: isolates of one process contend, the host gives far fewer. */
export const MAX_ATTEMPTS = 16;
/** The smallest heap with which an isolate of ours starts at all (isolated-vm's own minimum is 8). */
export const MIN_MEMORY_MB = 8;
/** isolated-vm's timeout is only the net below our own timer, and too short ones end in catastrophic errors. */
export const TIMEOUT_MARGIN_MS = 250;
/** After the task's end the isolate's thread is normally idle within a millisecond. */
export const END_SETTLE_MS = 20;
/** Heap for compiling the largest bundle; what needs more is compiled by its steps, within their limits. */
export const CACHE_MEMORY_MB = 128;
/** In a kept isolate; each leaves a little behind. */
export const MAX_CONTEXTS = 1_000;
/** Kept isolates of one key: as many as steps of it run here at a time. */
export const MAX_KEPT_PER_KEY = 4;
/** Isolates made ahead: for the next step of a plugin that has just run, and one beside it. */
export const MAX_AHEAD_PER_KEY = 2;
/** Different (bundle, limits) for which isolates are kept; each costs 1.1 MB. */
export const MAX_AHEAD_KEYS = 8;
/** Bundles kept in the worker: text and code cache. */
export const MAX_BUNDLES = 32;
export const MAX_BUNDLE_STORE_BYTES = 64 * 1024 * 1024;
/** From this length on a bundle is compiled off the worker's main thread: below, the two hops cost more. */
export const ASYNC_COMPILE_LENGTH = 64 * 1024;
/** The worker refuses to start: wrong Node flags, wrong isolated-vm. */
export const EXIT_UNUSABLE = 71;
