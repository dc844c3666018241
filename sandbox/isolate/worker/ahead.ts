/**
 * Isolates made ahead, so that the next step of a plugin starts at once. Each context is used once. Keyed by everything
 * that went into one: the bundle, every limit, and the policy; what another policy prepared is dropped.
 */

import type { LoadedBundle } from './bundles.ts';
import { MAX_AHEAD_KEYS, MAX_AHEAD_PER_KEY, MAX_KEPT_PER_KEY } from './limits.ts';
import type { IsolateFactory, IsolateHome, IsolateShape, Prepared, PreparedIsolate } from './prepared-isolate.ts';

/** What an isolate is made for, beside its bundle. */
export interface AheadShape extends IsolateShape {
  readonly policyHash: string;
  /** All of them as text, also those that an isolate is not made with. */
  readonly limits: string;
}

export class AheadIsolates {
  readonly #factory: Pick<IsolateFactory, 'prepare'>;
  /** Least recently used first. */
  readonly #waiting = new Map<string, PreparedIsolate[]>();
  readonly #making = new Set<string>();
  /** Of the last step that came: the policy in force. */
  #policyHash: string | undefined;
  #isClosed = false;

  constructor(factory: Pick<IsolateFactory, 'prepare'>) {
    this.#factory = factory;
  }

  /** One made now. Never rejects. */
  make(bundle: LoadedBundle, shape: IsolateShape): Promise<Prepared> {
    return this.#factory.prepare(bundle, shape);
  }

  /** A step came: what was prepared under another policy goes. */
  usePolicy(policyHash: string): void {
    if (this.#policyHash !== policyHash) this.#dropAll();
    this.#policyHash = policyHash;
  }

  takeWaiting(bundle: LoadedBundle, shape: AheadShape): PreparedIsolate | undefined {
    const key = keyOf(bundle, shape);
    const waiting = this.#waiting.get(key);
    const isolate = waiting?.pop();
    if (waiting?.length === 0) this.#waiting.delete(key);
    return isolate;
  }

  /**
   * Makes the next one off the path of the step that has just ended.
   * @param kept its isolate, when another context may be made in it; taken in any case.
   */
  refill(bundle: LoadedBundle, shape: AheadShape, kept?: IsolateHome): void {
    const key = keyOf(bundle, shape);
    const room = (shape.isKept ? MAX_KEPT_PER_KEY : MAX_AHEAD_PER_KEY) - (this.#waiting.get(key)?.length ?? 0);
    const isMaking = kept === undefined && this.#making.has(key);
    if (this.#isClosed || isMaking || room <= 0 || shape.policyHash !== this.#policyHash) {
      kept?.dispose();
      return;
    }
    this.#making.add(key);
    setImmediate(() => void this.#make(key, bundle, shape, kept));
  }

  close(): void {
    this.#isClosed = true;
    this.#dropAll();
  }

  #dropAll(): void {
    for (const isolates of this.#waiting.values()) for (const isolate of isolates) isolate.dispose();
    this.#waiting.clear();
  }

  async #make(key: string, bundle: LoadedBundle, shape: AheadShape, kept: IsolateHome | undefined): Promise<void> {
    const isWanted = (): boolean => !this.#isClosed && shape.policyHash === this.#policyHash;
    if (!isWanted()) kept?.dispose();
    const prepared = isWanted() ? await this.#factory.prepare(bundle, shape, kept) : undefined;
    this.#making.delete(key);
    // A failure shows when a step needs one: it is then told to somebody.
    if (prepared?.ok !== true) return;
    if (!isWanted()) return prepared.isolate.dispose();
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

function keyOf(bundle: LoadedBundle, shape: AheadShape): string {
  return `${bundle.digest} ${shape.policyHash} ${shape.limits} ${shape.isWasmAllowed} ${shape.isKept}`;
}
