/** fetch and its classes, made at their first use and once for each step. */
import { withClassNames } from './class-names.ts';
import type { FetchGlobals } from './fetch/fetch.ts';
import type { HostCalls } from './host-calls.ts';

export const FETCH_NAMES = ['Headers', 'Request', 'Response', 'fetch'] as const;

/** CommonJS form, because only that is evaluated at its first call when esbuild bundles it. */
const load = () => require('./fetch/fetch.ts') as typeof import('./fetch/fetch.ts');

export class LazyFetch {
  readonly #calls: HostCalls;
  #made: FetchGlobals | undefined;

  constructor(calls: HostCalls) {
    this.#calls = calls;
  }

  get(): FetchGlobals {
    this.#made ??= withClassNames(load().createFetch(this.#calls), FETCH_NAMES);
    return this.#made;
  }

  /** Rejects what is under way. `reason` is asked only where something can be. */
  abortAll(reason: () => unknown): void {
    this.#made?.abortAll(reason());
  }
}
