/**
 * The polyfills that are evaluated at their first use, so that a step that needs none pays for none: their code is in
 * the prelude's text, and text that is not run costs next to nothing. Where a plugin runs among Node's own globals,
 * those are taken instead.
 */
import type { GUEST_GLOBALS } from '@flowops/proto/guest-globals.ts';
import { requireUrl, type Url } from './url.ts';

export type GlobalName = (typeof GUEST_GLOBALS)[number];

type Abort = typeof import('./abort.ts');
type Encoding = typeof import('@exodus/bytes/encoding-lite.js');

/** CommonJS form, because only that is evaluated at its first call when esbuild bundles it. */
export const POLYFILLS = {
  abort: {
    names: ['AbortController', 'AbortSignal', 'Event', 'EventTarget'],
    make: () => require('./abort.ts') as Abort,
  },
  encoding: {
    names: ['TextDecoder', 'TextEncoder'],
    make: () => require('@exodus/bytes/encoding-lite.js') as Encoding,
  },
  url: { names: ['URL', 'URLSearchParams'], make: requireUrl },
  clone: {
    names: ['structuredClone'],
    make: () => require('./structured-clone.ts') as typeof import('./structured-clone.ts'),
  },
} as const satisfies Record<string, { readonly names: readonly GlobalName[]; readonly make: () => object }>;

/** Node's own, as they were before the plugin; undefined where there is no Node. */
let natives: Readonly<Record<string, unknown>> | undefined;

export function useNatives(): void {
  const names = Object.values(POLYFILLS).flatMap(({ names }) => names as readonly string[]);
  natives = Object.fromEntries(names.map((name) => [name, Reflect.get(globalThis, name)]));
}

export const loadAbort = (): Abort => load(POLYFILLS.abort);
export const loadEncoding = (): Encoding => load(POLYFILLS.encoding);
export const loadUrl = (): Url => load<Url>(POLYFILLS.url);

/** By way of the globals, which hide their own names from the polyfill while it loads. */
function load<T>({ names, make }: { readonly names: readonly string[]; readonly make: () => T }): T {
  if (natives !== undefined) return natives as T;
  for (const name of names) Reflect.get(globalThis, name);
  return make();
}
