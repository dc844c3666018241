/**
 * The bundles that a host asks its caller for, read and sent in pieces, one bundle after the other. At most
 * MAX_BUNDLES_HELD are in memory, whatever the host asks for and however slowly it reads.
 */
import type { AttemptRequest } from './attempt.ts';
import { messageOf } from './errors.ts';
import type { LaterResult, Peer, PeerMessageInit } from './peer.ts';
import type { BundleResult } from './plugin-source.ts';

/** Fixed by sandbox.proto: a piece of a bundle. */
export const BUNDLE_CHUNK_BYTES = 1024 * 1024;
/** One is sent while the next is read: a bundle has 16 MiB at most. */
const MAX_BUNDLES_HELD = 2;

type BundleRequest = Pick<AttemptRequest, 'bundle' | 'pluginId'>;
type PutBundleInit = Extract<PeerMessageInit, { case: 'putBundle' }>['value'];

export class BundleSender {
  readonly #peer: Pick<Peer, 'sendWhenRoom' | 'isOpen'>;
  readonly #requestOf: (digest: string) => BundleRequest | undefined;
  /** Asked for, in order, until it was sent. */
  readonly #asked = new Set<string>();
  readonly #toRead: string[] = [];
  #held = 0;
  #sending: Promise<void> = Promise.resolve();

  /** @param requestOf an attempt that is to run this bundle; undefined when there is none (any more). */
  constructor(peer: Pick<Peer, 'sendWhenRoom' | 'isOpen'>, requestOf: (digest: string) => BundleRequest | undefined) {
    this.#peer = peer;
    this.#requestOf = requestOf;
  }

  /** The host asks; anything but `wanted` is not answered. */
  ask(digest: string): 'wanted' | 'duplicate' | 'foreign' {
    if (this.#asked.has(digest)) return 'duplicate';
    if (this.#requestOf(digest) === undefined) return 'foreign';
    this.#asked.add(digest);
    this.#toRead.push(digest);
    this.#readNext();
    return 'wanted';
  }

  #readNext(): void {
    while (this.#held < MAX_BUNDLES_HELD && this.#peer.isOpen) {
      const digest = this.#toRead.shift();
      if (digest === undefined) return;
      const request = this.#requestOf(digest);
      // Without one, whoever needed it has ended meanwhile.
      if (request === undefined) this.#asked.delete(digest);
      else void this.#serve(digest, request);
    }
  }

  async #serve(digest: string, request: BundleRequest): Promise<void> {
    this.#held++;
    const result = await readBundle(request);
    const sending = this.#sending.then(() => this.#send(digest, result));
    this.#sending = sending;
    await sending;
    this.#asked.delete(digest);
    this.#held--;
    this.#readNext();
  }

  async #send(digest: string, result: BundleResult): Promise<void> {
    if (!result.ok) {
      await this.#sendPiece({ digest, missing: result.message || 'it has no bundle', missingCode: result.code });
      return;
    }
    const { bytes } = result.bundle;
    const totalBytes = BigInt(bytes.length);
    for (let offset = 0; offset === 0 || offset < bytes.length; offset += BUNDLE_CHUNK_BYTES) {
      const data = bytes.subarray(offset, offset + BUNDLE_CHUNK_BYTES);
      if ((await this.#sendPiece({ digest, totalBytes, offset: BigInt(offset), data })) !== 'sent') return;
    }
  }

  #sendPiece(value: PutBundleInit): Promise<LaterResult> {
    return new Promise((resolve) => this.#peer.sendWhenRoom(() => ({ case: 'putBundle', value }), resolve));
  }
}

async function readBundle(request: BundleRequest): Promise<BundleResult> {
  try {
    return await request.bundle();
  } catch (thrown) {
    return {
      ok: false,
      code: 'SANDBOX_UNAVAILABLE',
      message: `the bundle of ${request.pluginId} could not be read: ${messageOf(thrown)}`,
    };
  }
}
