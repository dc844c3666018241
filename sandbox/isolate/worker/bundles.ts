/** The bundles a worker holds: the text with its code cache. Bounded, least recently used first. */
import type { PutBundle } from '@flowops/proto/sandbox_pb.js';
import ivm from 'isolated-vm';
import { BundlePieces, type GuestBundle, type PutResult } from '../../guest/bundle-pieces.ts';
import { bundleScript } from './bundle-script.ts';
import { MAX_BUNDLE_STORE_BYTES, MAX_BUNDLES } from './limits.ts';
import type { BundleCode } from './prepared-isolate.ts';

export type LoadedBundle = GuestBundle & BundleCode;

export class WorkerBundles {
  readonly #pieces = new BundlePieces();
  /** Came with the first piece of a bundle that is still on its way. */
  readonly #caches = new Map<string, ivm.ExternalCopy<ArrayBuffer>>();
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
    if (piece.offset === 0n && piece.codeCache.length > 0) this.#caches.set(piece.digest, copyOf(piece.codeCache));
    if (put.state === 'incomplete') return put;
    const cache = this.#caches.get(piece.digest);
    this.#caches.delete(piece.digest);
    if (put.state === 'refused') return put;
    const bundle: LoadedBundle = { ...put.bundle, script: bundleScript(put.bundle.source), cache };
    this.#bundles.set(bundle.digest, bundle);
    this.#bytes += sizeOf(bundle);
    this.#evict();
    return { state: 'complete', bundle };
  }

  /** What runs keeps its bundle by itself. */
  #evict(): void {
    for (const [digest, bundle] of this.#bundles) {
      if (this.#bundles.size <= MAX_BUNDLES && this.#bytes <= MAX_BUNDLE_STORE_BYTES) return;
      if (this.#bundles.size === 1) return;
      this.#bundles.delete(digest);
      this.#bytes -= sizeOf(bundle);
    }
  }
}

/** The text, and most of it once more as a script. */
function sizeOf({ bytes }: LoadedBundle): number {
  return 2 * bytes;
}

function copyOf(data: Uint8Array): ivm.ExternalCopy<ArrayBuffer> {
  const bytes = new ArrayBuffer(data.length);
  new Uint8Array(bytes).set(data);
  return new ivm.ExternalCopy(bytes);
}
