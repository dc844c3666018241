/**
 * Puts the globals of proto/guest-globals.ts into a fresh context and takes away what a plugin must not have. What is
 * more than a few lines is evaluated at its first use, so that a fresh isolate stays cheap: the code is in the
 * prelude's text, and with a code cache text that is not run costs next to nothing.
 */
import { REMOVED_GLOBALS } from '@flowops/proto/guest-globals.ts';
import { dateNow } from '@flowops/sdk/primordials.ts';
import type { HostFunction } from '../guest-protocol.ts';
import { atob, btoa } from './base64.ts';
import { withClassNames } from './class-names.ts';
import { createCrypto } from './crypto.ts';
import { FETCH_NAMES, type LazyFetch } from './lazy-fetch.ts';
import { createConsole, type GuestLog } from './logging.ts';
import { type GlobalName, POLYFILLS, useNatives } from './polyfills.ts';
import type { GuestTimers } from './timers.ts';

type Values = Readonly<Record<GlobalName, unknown>>;

interface Given {
  readonly host: HostFunction;
  readonly log: GuestLog;
  readonly timers: GuestTimers;
  readonly fetch: LazyFetch;
}

export function installGlobals({ host, log, timers, fetch }: Given): void {
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
  for (const { names, make } of Object.values(POLYFILLS)) defineLazy<GlobalName>(names, make as () => Values);
  defineLazy(FETCH_NAMES, () => fetch.get());
}

/** Among Node's own globals: only what leads out of the process is replaced. */
export function installAmongNatives({ log, fetch }: Pick<Given, 'log' | 'fetch'>): void {
  useNatives();
  define('console', createConsole(log));
  const made = fetch.get();
  for (const name of FETCH_NAMES) define(name, made[name]);
}

/** Their callbacks would run in the time of whoever comes next into a kept isolate. */
const REMOVED_FROM_KEPT = ['FinalizationRegistry', 'WeakRef'] as const;

export function removeGlobals(isWasmAllowed: boolean, isKept: boolean): void {
  for (const name of isKept ? REMOVED_FROM_KEPT : []) {
    if (!Reflect.deleteProperty(globalThis, name)) throw new Error(`${name} cannot be removed`);
  }
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
    const values = withClassNames(make(), names);
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
