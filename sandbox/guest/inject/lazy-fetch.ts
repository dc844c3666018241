/** fetch and its classes, made at their first use and once for each step. */
import type { FetchGlobals } from './fetch/fetch.ts';
import type { HostCalls } from './host-calls.ts';

/** CommonJS form, because only that is evaluated at its first call when esbuild bundles it. */
const load = () => require('./fetch/fetch.ts') as typeof import('./fetch/fetch.ts');

export class LazyFetch {
  readonly #calls: HostCalls;
  #made: FetchGlobals | undefined;

  constructor(calls: HostCalls) {
    this.#calls = calls;
  }

  get(): FetchGlobals {
    this.#made ??= load().createFetch(this.#calls);
    return this.#made;
  }

  /** Rejects what is under way. `reason` is asked only where something can be. */
  abortAll(reason: () => unknown): void {
    this.#made?.abortAll(reason());
  }
}
