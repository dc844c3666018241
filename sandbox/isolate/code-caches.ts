/**
 * What V8 made of bundles, so that a further worker of a domain need not compile them again (design 5.2). In the host's
 * memory only, bounded. V8 runs such a cache without looking at what is in it, so what matters is where it comes from:
 * code-cache-gate.ts lets in only what a worker made before any step was sent to it.
 *
 * Invariant: what one trust domain's worker made is never given to another's.
 */

/** Compiling less than this takes about as long as asking. */
export const LEAST_CACHED_BYTES = 64 * 1024;
/** Of one bundle; it has about the size of its source. Larger ones are compiled each time. */
const MAX_CACHE_BYTES = 8 * 1024 * 1024;
/** A hundred of the usual large bundles. */
const MAX_TOTAL_BYTES = 64 * 1024 * 1024;
/** Bundles of which no cache can be made are remembered too, and have no size. */
const MAX_CACHES = 2_000;

export interface CodeCacheKey {
  /** Trust domain of the worker. */
  readonly domain: string;
  readonly digest: string;
  /** V8's version in the worker, as it said before it was given anything. */
  readonly v8: string;
}

export class CodeCaches {
  /** Least recently used first. */
  readonly #caches = new Map<string, Uint8Array>();
  #bytes = 0;

  /** Empty: it was tried, and none can be made. Undefined: not tried, or forgotten. */
  get(key: CodeCacheKey): Uint8Array | undefined {
    const text = textOf(key);
    const cache = this.#caches.get(text);
    if (cache === undefined) return undefined;
    this.#caches.delete(text);
    this.#caches.set(text, cache);
    return cache;
  }

  put(key: CodeCacheKey, data: Uint8Array): void {
    const text = textOf(key);
    this.#drop(text);
    // A copy: the data is a view of the worker's connection.
    const cache = data.length > MAX_CACHE_BYTES ? new Uint8Array(0) : Uint8Array.from(data);
    this.#caches.set(text, cache);
    this.#bytes += cache.length;
    for (const oldest of this.#caches.keys()) {
      if (this.#bytes <= MAX_TOTAL_BYTES && this.#caches.size <= MAX_CACHES) break;
      this.#drop(oldest);
    }
  }

  #drop(text: string): void {
    this.#bytes -= this.#caches.get(text)?.length ?? 0;
    this.#caches.delete(text);
  }
}

function textOf({ domain, digest, v8 }: CodeCacheKey): string {
  return `${domain}\n${digest}\n${v8}`;
}
