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

/** What lies in those of the globals that are objects; the same in every tier, and nothing else is in them. */
export const GUEST_MEMBERS = {
  console: [
    'assert',
    'clear',
    'count',
    'countReset',
    'debug',
    'dir',
    'dirxml',
    'error',
    'group',
    'groupCollapsed',
    'groupEnd',
    'info',
    'log',
    'table',
    'time',
    'timeEnd',
    'timeLog',
    'trace',
    'warn',
  ],
  crypto: ['getRandomValues', 'randomUUID', 'subtle'],
  'crypto.subtle': ['digest'],
  performance: ['now', 'timeOrigin'],
} as const;

/** The algorithms of `crypto.subtle.digest`. https://www.w3.org/TR/webcrypto/#sha-registration */
export const DIGEST_ALGORITHMS = ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512'] as const;

/**
 * What the classes of the list lack of their standards, because it means nothing outside a browser or needs what is not
 * in the list (streams, Blob, FormData): members of the class itself, then of its instances.
 */
export const MISSING_MEMBERS: Readonly<
  Partial<
    Record<(typeof GUEST_GLOBALS)[number], { readonly class?: readonly string[]; readonly of?: readonly string[] }>
  >
> = {
  Request: {
    of: [
      'cache',
      'credentials',
      'destination',
      'duplex',
      'integrity',
      'isHistoryNavigation',
      'isReloadNavigation',
      'keepalive',
      'mode',
      'referrer',
      'referrerPolicy',
    ],
  },
  URL: { class: ['createObjectURL', 'revokeObjectURL'] },
};

/** Names of ECMAScript (and WebAssembly) that are taken away, the first only where the policy grants no wasm. */
export const REMOVED_GLOBALS = ['WebAssembly', 'SharedArrayBuffer', 'Atomics'] as const;
