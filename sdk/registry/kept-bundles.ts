/**
 * The bundles a folder gave out, by digest: in the content store, or in memory when the disk does not take them. A
 * digest that was resolved stays served though the file it came from has changed or gone.
 */
import type { Content, ContentStore } from '@flowops/proto/content-store.ts';
import { digestOf } from '@flowops/proto/ids.ts';

/** In memory only while the disk refuses: a few of the largest bundles, many of the usual ones. */
const MAX_MEMORY_BYTES = 64 * 1024 * 1024;

export class KeptBundles {
  readonly #store: ContentStore;
  readonly #unstored = new Map<string, Content>();
  #unstoredBytes = 0;

  constructor(store: ContentStore) {
    this.#store = store;
  }

  async has(digest: string): Promise<boolean> {
    return this.#unstored.has(digest) || (await this.#store.has(digest));
  }

  async keep(content: Content): Promise<void> {
    if (await this.has(content.digest)) return await this.#keepSignature(content);
    if (await this.#store.write(content)) return;
    this.#unstored.set(content.digest, content);
    this.#unstoredBytes += content.bytes.length;
    for (const [digest, oldest] of this.#unstored) {
      if (this.#unstoredBytes <= MAX_MEMORY_BYTES) break;
      this.#unstored.delete(digest);
      this.#unstoredBytes -= oldest.bytes.length;
    }
  }

  /** Text of the newest .sig file kept with a digest. */
  async signatureOf(digest: string): Promise<string | undefined> {
    return this.#unstored.get(digest)?.signature ?? (await this.#store.readSignature(digest));
  }

  /** Bytes that have this digest, or nothing. */
  async read(digest: string): Promise<Content | undefined> {
    const unstored = this.#unstored.get(digest);
    if (unstored !== undefined && digestOf(unstored.bytes) === digest) return unstored;
    return await this.#store.read(digest);
  }

  /** The bytes are here already; they may have been signed since. */
  async #keepSignature({ digest, signature }: Content): Promise<void> {
    if (signature === undefined || signature === (await this.signatureOf(digest))) return;
    const unstored = this.#unstored.get(digest);
    if (unstored !== undefined) this.#unstored.set(digest, { ...unstored, signature });
    else await this.#store.writeSignature(digest, signature);
  }
}
