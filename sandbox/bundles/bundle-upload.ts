/**
 * A bundle on its way in: pieces in order, counted against what was announced, hashed as they come. Memory grows with
 * what arrived, not with what was announced. A piece that breaks the order is a broken protocol; bytes of another
 * digest are a bad bundle.
 */
import { createHash } from 'node:crypto';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import type { PutBundle } from '@flowops/proto/sandbox_pb.js';

/** Fixed by sandbox.proto. */
const MAX_CHUNK_BYTES = 1024 * 1024;

export type UploadResult =
  | { readonly kind: 'more' }
  | { readonly kind: 'whole'; readonly bytes: Uint8Array }
  /** The bytes are not those of the digest, or more than a bundle may have. */
  | { readonly kind: 'bad'; readonly problem: string }
  | { readonly kind: 'protocol'; readonly problem: string };

export class BundleUpload {
  readonly digest: string;
  readonly #hash = createHash('sha256');
  readonly #chunks: Uint8Array[] = [];
  #received = 0;
  #total = -1;

  constructor(digest: string) {
    this.digest = digest;
  }

  take(piece: PutBundle): UploadResult {
    const total = Number(piece.totalBytes);
    if (this.#total < 0) {
      if (total > MAX_BUNDLE_BYTES)
        return { kind: 'bad', problem: `it has ${total} bytes; at most ${MAX_BUNDLE_BYTES} are allowed` };
      this.#total = total;
    }
    const isInOrder = total === this.#total && Number(piece.offset) === this.#received;
    const isInside = this.#received + piece.data.length <= this.#total && piece.data.length <= MAX_CHUNK_BYTES;
    const isEmpty = piece.data.length === 0 && this.#total !== 0;
    if (!isInOrder || !isInside || isEmpty) return { kind: 'protocol', problem: 'a piece of a bundle out of order' };
    this.#hash.update(piece.data);
    // A copy: the piece is a view of the socket's buffer.
    this.#chunks.push(Uint8Array.from(piece.data));
    this.#received += piece.data.length;
    if (this.#received < this.#total) return { kind: 'more' };
    if (`sha256:${this.#hash.digest('hex')}` !== this.digest) {
      return { kind: 'bad', problem: 'its bytes do not have the digest that was asked for' };
    }
    return { kind: 'whole', bytes: Buffer.concat(this.#chunks) };
  }
}
