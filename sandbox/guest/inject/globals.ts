/**
 * Puts the globals of proto/guest-globals.ts into a fresh context and takes away what a plugin must not have. What is
 * more than a few lines is evaluated at its first use, so that a fresh isolate stays cheap: the code is in the
 * prelude's text, and with a code cache text that is not run costs next to nothing.
 */
import { type GUEST_GLOBALS, REMOVED_GLOBALS } from '@flowops/proto/guest-globals.ts';
import { dateNow } from '@flowops/sdk/primordials.ts';
import type { HostFunction } from '../guest-protocol.ts';
import { atob, btoa } from './base64.ts';
import { createCrypto } from './crypto.ts';
import { createConsole, type GuestLog } from './logging.ts';
import type { GuestTimers } from './timers.ts';

type GlobalName = (typeof GUEST_GLOBALS)[number];

/** CommonJS form, because only that is evaluated at its first call when esbuild bundles it. */
const load = {
  abort: () => require('./abort.ts') as typeof import('./abort.ts'),
  encoding: () => require('@exodus/bytes/encoding-lite.js') as typeof import('@exodus/bytes/encoding-lite.js'),
  url: () => require('whatwg-url') as { readonly URL: unknown; readonly URLSearchParams: unknown },
  clone: () => require('./structured-clone.ts') as typeof import('./structured-clone.ts'),
};

const ABORT_NAMES = ['AbortController', 'AbortSignal', 'Event', 'EventTarget'] as const;

/** By way of the globals, which hide their own names from the polyfill while it loads. */
export function loadAbort(): typeof import('./abort.ts') {
  for (const name of ABORT_NAMES) Reflect.get(globalThis, name);
  return load.abort();
}

export function installGlobals(given: { host: HostFunction; log: GuestLog; timers: GuestTimers }): void {
  const { host, log, timers } = given;
  const start = dateNow();
  const values = {
    atob,
    btoa,
    clearInterval: timers.clearTimeout,
    clearTimeout: timers.clearTimeout,
    console: createConsole(log),
    crypto: createCrypto(host),
    performance: { now: () => dateNow() - start, timeOrigin: start },
    queueMicrotask: timers.queueMicrotask,
    setInterval: timers.setInterval,
    setTimeout: timers.setTimeout,
  } satisfies Partial<Record<GlobalName, unknown>>;
  for (const [name, value] of Object.entries(values)) define(name, value);
  defineLazy(ABORT_NAMES, load.abort);
  defineLazy(['TextDecoder', 'TextEncoder'], load.encoding);
  defineLazy(['URL', 'URLSearchParams'], load.url);
  defineLazy(['structuredClone'], load.clone);
}

export function removeGlobals(isWasmAllowed: boolean): void {
  for (const name of REMOVED_GLOBALS) {
    if (name === 'WebAssembly' && isWasmAllowed) continue;
    if (!Reflect.deleteProperty(globalThis, name)) throw new Error(`${name} cannot be removed`);
  }
}

function define(name: string, value: unknown): void {
  const descriptor = { value, writable: true, enumerable: false, configurable: true, __proto__: null };
  Reflect.defineProperty(globalThis, name, descriptor);
}

/** All names of one polyfill come at the first use of any of them. */
function defineLazy<N extends GlobalName>(names: readonly N[], make: () => Readonly<Record<N, unknown>>): void {
  const waiting = new Set<N>(names);
  const evaluate = (): void => {
    // A polyfill looks whether the real thing is there: while it loads, it is not.
    for (const name of waiting) define(name, undefined);
    const values = make();
    for (const name of waiting) define(name, values[name]);
    waiting.clear();
  };
  for (const name of names) {
    const get = (): unknown => {
      evaluate();
      return (globalThis as Readonly<Record<string, unknown>>)[name];
    };
    const set = (value: unknown): void => {
      waiting.delete(name);
      define(name, value);
    };
    Object.defineProperty(globalThis, name, { get, set, enumerable: false, configurable: true });
  }
}
