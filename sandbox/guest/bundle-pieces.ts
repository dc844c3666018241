/** Bundles on their way in: gathers the pieces, checks the digest of the whole and reads its first line. */
import { digestOf } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES, type Manifest, readBundleManifest } from '@flowops/proto/manifest.ts';
import type { PutBundle } from '@flowops/proto/sandbox_pb.js';

export interface GuestBundle {
  readonly digest: string;
  readonly bytes: number;
  /** The name under which its frames are shown: "acme.hello.js". */
  readonly file: string;
  readonly source: string;
  /** Of the first line; `problem` where there is none that can be read. */
  readonly declared:
    | { readonly ok: true; readonly manifest: Manifest }
    | { readonly ok: false; readonly problem: string };
  /** The text the code was last seen to declare and that fits the first line: compared as text from then on. */
  knownManifestJson: string | undefined;
}

export type PutResult<Bundle> =
  /** More pieces have to come. */
  | { readonly state: 'incomplete' }
  | { readonly state: 'complete'; readonly bundle: Bundle }
  | { readonly state: 'refused'; readonly problem: string };

interface Upload {
  readonly bytes: Uint8Array;
  have: number;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

export class BundlePieces {
  readonly #uploads = new Map<string, Upload>();

  put(piece: PutBundle): PutResult<GuestBundle> {
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
    return this.#read(digest, upload.bytes);
  }

  #read(digest: string, bytes: Uint8Array): PutResult<GuestBundle> {
    if (digestOf(bytes) !== digest) return this.#refuse(digest, 'its bytes do not have its digest');
    let source: string;
    try {
      source = decoder.decode(bytes);
    } catch {
      return this.#refuse(digest, 'the bundle is not text in UTF-8');
    }
    const declared = readBundleManifest(bytes);
    const file = `${declared.ok ? declared.manifest.name : 'plugin'}.js`;
    return {
      state: 'complete',
      bundle: { digest, bytes: bytes.length, file, source, declared, knownManifestJson: undefined },
    };
  }

  #refuse(digest: string, problem: string): PutResult<never> {
    this.#uploads.delete(digest);
    return { state: 'refused', problem };
  }
}
