/**
 * What a plugin can call beside ECMAScript itself: a closed list, the same in every tier (design 6.2). One test holds
 * the real sandboxes against it, in both directions.
 */
export const GUEST_GLOBALS = [
  'AbortController',
  'AbortSignal',
  'Event',
  'EventTarget',
  'Headers',
  'Request',
  'Response',
  'TextDecoder',
  'TextEncoder',
  'URL',
  'URLSearchParams',
  'atob',
  'btoa',
  'clearInterval',
  'clearTimeout',
  'console',
  'crypto',
  'fetch',
  'performance',
  'queueMicrotask',
  'setInterval',
  'setTimeout',
  'structuredClone',
] as const;

/** Names of ECMAScript (and WebAssembly) that are taken away, the first only where the policy grants no wasm. */
export const REMOVED_GLOBALS = ['WebAssembly', 'SharedArrayBuffer', 'Atomics'] as const;
