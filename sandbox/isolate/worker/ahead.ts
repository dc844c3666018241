/**
 * Isolates made ahead, so that the next step of a plugin starts at once. Each is used once. Keyed by everything that
 * went into one: the bundle and the limits that an isolate is made with.
 */

import type { LoadedBundle } from './bundles.ts';
import { MAX_AHEAD_KEYS, MAX_AHEAD_PER_KEY } from './limits.ts';
import type { IsolateFactory, IsolateShape, Prepared, PreparedIsolate } from './prepared-isolate.ts';

export class AheadIsolates {
  readonly #factory: IsolateFactory;
  /** Least recently used first. */
  readonly #waiting = new Map<string, PreparedIsolate[]>();
  readonly #making = new Set<string>();
  #isClosed = false;

  constructor(factory: IsolateFactory) {
    this.#factory = factory;
  }

  /** One made now. Never rejects. */
  make(bundle: LoadedBundle, shape: IsolateShape): Promise<Prepared> {
    return this.#factory.prepare(bundle, shape);
  }

  takeWaiting(bundle: LoadedBundle, shape: IsolateShape): PreparedIsolate | undefined {
    const key = keyOf(bundle, shape);
    const waiting = this.#waiting.get(key);
    const isolate = waiting?.pop();
    if (waiting?.length === 0) this.#waiting.delete(key);
    return isolate;
  }

  /** Makes the next one off the path of the step that has just ended. */
  refill(bundle: LoadedBundle, shape: IsolateShape): void {
    const key = keyOf(bundle, shape);
    if (this.#isClosed || this.#making.has(key)) return;
    if ((this.#waiting.get(key)?.length ?? 0) >= MAX_AHEAD_PER_KEY) return;
    this.#making.add(key);
    setImmediate(() => void this.#make(key, bundle, shape));
  }

  close(): void {
    this.#isClosed = true;
    for (const isolates of this.#waiting.values()) for (const isolate of isolates) isolate.dispose();
    this.#waiting.clear();
  }

  async #make(key: string, bundle: LoadedBundle, shape: IsolateShape): Promise<void> {
    const prepared = this.#isClosed ? undefined : await this.#factory.prepare(bundle, shape);
    this.#making.delete(key);
    // A failure shows when a step needs one: it is then told to somebody.
    if (prepared?.ok !== true) return;
    if (this.#isClosed) return prepared.isolate.dispose();
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    this.#waiting.set(key, [...waiting, prepared.isolate]);
    for (const [oldest, isolates] of this.#waiting) {
      if (this.#waiting.size <= MAX_AHEAD_KEYS) break;
      this.#waiting.delete(oldest);
      for (const isolate of isolates) isolate.dispose();
    }
  }
}

function keyOf(bundle: LoadedBundle, shape: IsolateShape): string {
  return `${bundle.digest} ${shape.memoryMb} ${shape.isWasmAllowed}`;
}
