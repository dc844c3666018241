/**
 * Bundles that this host holds, by digest, in memory and bounded: the least recently used one goes first. Those that
 * attempts run with stay alive with the attempts. Nothing enters that was not hashed here (G8: the bytes that were
 * verified are the bytes that run), and nothing is read back from a disk. Whose bytes they are is no part of them: a
 * signature comes with each attempt.
 */
import { type Manifest, type ReadManifest, readBundleManifest } from '@flowops/proto/manifest.ts';

/** Eight bundles of the largest size, hundreds of usual ones. */
const DEFAULT_CAPACITY_BYTES = 128 * 1024 * 1024;

export interface StoredBundle {
  readonly digest: string;
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
}

export type AddBundle =
  | { readonly ok: true; readonly bundle: StoredBundle }
  | { readonly ok: false; readonly problem: string };

export class BundleStore {
  readonly #capacityBytes: number;
  /** In order of use, oldest first. */
  readonly #bundles = new Map<string, StoredBundle>();
  #bytes = 0;

  constructor(capacityBytes: number = DEFAULT_CAPACITY_BYTES) {
    this.#capacityBytes = capacityBytes;
  }

  get(digest: string): StoredBundle | undefined {
    const bundle = this.#bundles.get(digest);
    if (bundle === undefined) return undefined;
    this.#bundles.delete(digest);
    this.#bundles.set(digest, bundle);
    return bundle;
  }

  /** Reads the first line and keeps the bundle. The caller has checked the digest of the bytes. */
  add(verified: { digest: string; bytes: Uint8Array }): AddBundle {
    const read: ReadManifest = readBundleManifest(verified.bytes);
    if (!read.ok) return read;
    const bundle: StoredBundle = { ...verified, manifest: read.manifest };
    this.#drop(verified.digest);
    this.#bundles.set(bundle.digest, bundle);
    this.#bytes += bundle.bytes.length;
    for (const oldest of this.#bundles.keys()) {
      if (this.#bytes <= this.#capacityBytes || oldest === bundle.digest) break;
      this.#drop(oldest);
    }
    return { ok: true, bundle };
  }

  #drop(digest: string): void {
    const bundle = this.#bundles.get(digest);
    if (bundle === undefined) return;
    this.#bundles.delete(digest);
    this.#bytes -= bundle.bytes.length;
  }
}
