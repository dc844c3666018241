/**
 * The bundles a worker holds: gathers the pieces, checks the digest of the whole, reads the first line, keeps the text
 * with its code cache. Bounded, least recently used first.
 */
import { digestOf } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES, type Manifest, readBundleManifest } from '@flowops/proto/manifest.ts';
import type { PutBundle } from '@flowops/proto/sandbox_pb.js';
import { MAX_BUNDLE_STORE_BYTES, MAX_BUNDLES } from './limits.ts';
import type { BundleCode } from './prepared-isolate.ts';

export interface LoadedBundle extends BundleCode {
  readonly digest: string;
  readonly bytes: number;
  /** Of the first line; `problem` where there is none that can be read. */
  readonly declared:
    | { readonly ok: true; readonly manifest: Manifest }
    | { readonly ok: false; readonly problem: string };
  /** The text the code was last seen to declare and that fits the first line: compared as text from then on. */
  knownManifestJson: string | undefined;
}

export type PutResult =
  /** More pieces have to come. */
  | { readonly state: 'incomplete' }
  | { readonly state: 'complete'; readonly bundle: LoadedBundle }
  | { readonly state: 'refused'; readonly problem: string };

interface Upload {
  readonly bytes: Uint8Array;
  have: number;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

export class WorkerBundles {
  readonly #bundles = new Map<string, LoadedBundle>();
  readonly #uploads = new Map<string, Upload>();
  #bytes = 0;

  get(digest: string): LoadedBundle | undefined {
    const bundle = this.#bundles.get(digest);
    if (bundle === undefined) return undefined;
    this.#bundles.delete(digest);
    this.#bundles.set(digest, bundle);
    return bundle;
  }

  put(piece: PutBundle): PutResult {
    const { digest, data } = piece;
    const total = Number(piece.totalBytes);
    const offset = Number(piece.offset);
    if (offset === 0) {
      if (total > MAX_BUNDLE_BYTES) return this.#refuse(digest, `the bundle has ${total} bytes`);
      this.#uploads.set(digest, { bytes: new Uint8Array(total), have: 0 });
    }
    const upload = this.#uploads.get(digest);
    if (upload === undefined || upload.have !== offset || offset + data.length > upload.bytes.length) {
      return this.#refuse(digest, 'its pieces do not fit together');
    }
    upload.bytes.set(data, offset);
    upload.have += data.length;
    if (upload.have < upload.bytes.length) {
      return data.length === 0 ? this.#refuse(digest, 'an empty piece') : { state: 'incomplete' };
    }
    this.#uploads.delete(digest);
    return this.#load(digest, upload.bytes);
  }

  #load(digest: string, bytes: Uint8Array): PutResult {
    if (digestOf(bytes) !== digest) return this.#refuse(digest, 'its bytes do not have its digest');
    let source: string;
    try {
      source = decoder.decode(bytes);
    } catch {
      return this.#refuse(digest, 'the bundle is not text in UTF-8');
    }
    const declared = readBundleManifest(bytes);
    const file = `${declared.ok ? declared.manifest.name : 'plugin'}.js`;
    const bundle: LoadedBundle = {
      digest,
      bytes: bytes.length,
      file,
      source,
      declared,
      cache: undefined,
      knownManifestJson: undefined,
    };
    this.#bundles.set(digest, bundle);
    this.#bytes += bytes.length;
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

  #refuse(digest: string, problem: string): PutResult {
    this.#uploads.delete(digest);
    return { state: 'refused', problem };
  }
}
