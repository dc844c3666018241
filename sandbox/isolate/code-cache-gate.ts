/**
 * One worker's part in making and using code caches. A compromised worker must not be able to plant one: a later worker
 * would run it as if it were the plugin. So the host trusts its own order of things, not the worker's.
 *
 * Invariants:
 *   A1. A worker is asked at most once, and only while no step was ever sent to it.
 *   A2. While it is asked, everything about steps is held; so no guest runs before its answer has arrived.
 *   A3. One answer is taken. Whatever else comes as a code cache is no cache.
 */
import type { CodeCache } from '@flowops/proto/sandbox_pb.js';
import type { StoredBundle } from '../bundles/bundle-store.ts';
import { type CodeCacheKey, type CodeCaches, LEAST_CACHED_BYTES } from './code-caches.ts';

/** Compiling the largest bundle takes well under a second; a worker that takes longer gets its steps without. */
const ANSWER_MS = 2_000;

/** What goes along with the first piece of a bundle. */
export type CodeCacheOffer = { readonly codeCache: Uint8Array } | { readonly makeCodeCache: true } | undefined;

type Phase =
  | { readonly name: 'unused' }
  | {
      readonly name: 'asked';
      readonly key: CodeCacheKey;
      readonly held: (() => void)[];
      readonly timer: NodeJS.Timeout;
    }
  /** Steps were sent. `isAnswerDue`: it was asked and has not answered in time. */
  | { readonly name: 'open'; readonly isAnswerDue: boolean };

export class CodeCacheGate {
  readonly #caches: CodeCaches;
  /** Undefined until the worker said so; then no caches are used. */
  v8: string | undefined;
  #phase: Phase = { name: 'unused' };

  constructor(caches: CodeCaches) {
    this.#caches = caches;
  }

  /** Called when a bundle is about to be sent. */
  offer(domain: string, { digest, bytes }: Pick<StoredBundle, 'digest' | 'bytes'>): CodeCacheOffer {
    if (this.v8 === undefined || bytes.length < LEAST_CACHED_BYTES) return undefined;
    const key = { domain, digest, v8: this.v8 };
    const known = this.#caches.get(key);
    if (known !== undefined) return known.length === 0 ? undefined : { codeCache: known };
    if (this.#phase.name !== 'unused') return undefined;
    const timer = setTimeout(() => this.#release(true), ANSWER_MS);
    this.#phase = { name: 'asked', key, held: [], timer };
    return { makeCodeCache: true };
  }

  /** Sends something about a step: now, or in this order after the worker has answered. */
  pass(send: () => void): void {
    if (this.#phase.name === 'asked') {
      this.#phase.held.push(send);
      return;
    }
    if (this.#phase.name === 'unused') this.#phase = { name: 'open', isAnswerDue: false };
    send();
  }

  /** `foreign`: the worker was not asked for it and breaks the protocol. */
  take({ digest, data }: Pick<CodeCache, 'digest' | 'data'>): 'taken' | 'late' | 'foreign' {
    const phase = this.#phase;
    if (phase.name === 'asked' && phase.key.digest === digest) {
      this.#caches.put(phase.key, data);
      this.#release(false);
      return 'taken';
    }
    if (phase.name !== 'open' || !phase.isAnswerDue) return 'foreign';
    this.#phase = { name: 'open', isAnswerDue: false };
    return 'late';
  }

  /** Nothing is sent any more. Idempotent. */
  close(): void {
    if (this.#phase.name === 'asked') clearTimeout(this.#phase.timer);
    this.#phase = { name: 'open', isAnswerDue: false };
  }

  #release(isAnswerDue: boolean): void {
    if (this.#phase.name !== 'asked') return;
    const { held, timer } = this.#phase;
    clearTimeout(timer);
    this.#phase = { name: 'open', isAnswerDue };
    for (const send of held) send();
  }
}
