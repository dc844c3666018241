/** The bundles a worker holds: the text with its code cache. Bounded, least recently used first. */
import type { PutBundle } from '@flowops/proto/sandbox_pb.js';
import { BundlePieces, type GuestBundle, type PutResult } from '../../guest/bundle-pieces.ts';
import { MAX_BUNDLE_STORE_BYTES, MAX_BUNDLES } from './limits.ts';
import type { BundleCode } from './prepared-isolate.ts';

export type LoadedBundle = GuestBundle & BundleCode;

export class WorkerBundles {
  readonly #pieces = new BundlePieces();
  readonly #bundles = new Map<string, LoadedBundle>();
  #bytes = 0;

  get(digest: string): LoadedBundle | undefined {
    const bundle = this.#bundles.get(digest);
    if (bundle === undefined) return undefined;
    this.#bundles.delete(digest);
    this.#bundles.set(digest, bundle);
    return bundle;
  }

  put(piece: PutBundle): PutResult<LoadedBundle> {
    const put = this.#pieces.put(piece);
    if (put.state !== 'complete') return put;
    const bundle: LoadedBundle = { ...put.bundle, cache: undefined };
    this.#bundles.set(bundle.digest, bundle);
    this.#bytes += bundle.bytes;
    this.#evict();
    return { state: 'complete', bundle };
  }

  /** What runs keeps its bundle by itself. */
  #evict(): void {
    for (const [digest, bundle] of this.#bundles) {
      if (this.#bundles.size <= MAX_BUNDLES && this.#bytes <= MAX_BUNDLE_STORE_BYTES) return;
      if (this.#bundles.size === 1) return;
      this.#bundles.delete(digest);
      this.#bytes -= bundle.bytes;
    }
  }
}
