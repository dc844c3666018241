/**
 * Bundles by digest: on disk under `<dir>/sha256/<hex>`, and the recently used ones in memory. Every read is checked
 * against the digest, so a damaged file is a miss (and removed), never a bundle. Bounded on disk and in memory; a
 * bundle that a run has pinned is never removed from disk. A signature is kept beside the bytes and may come later than
 * they did; the newest counts. Knows nothing of servers or plugin ids.
 */
import { join } from 'node:path';
import type { Content } from '@flowops/proto/content-store.ts';
import { ContentStore } from '@flowops/proto/content-store.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import type { Manifest, ReadManifest } from '@flowops/proto/manifest.ts';
import { readBundleManifest } from '@flowops/proto/manifest.ts';

/** Two of the largest bundles and thousands of usual ones. */
const DEFAULT_MEMORY_BYTES = 64 * 1024 * 1024;
/** Manifests are a few KB and asked for at every START. */
const MAX_MANIFESTS = 2_000;
/** Of a KB at most; asked for at every attempt. */
const MAX_SIGNATURES = 2_000;

export interface BundleCacheOptions {
  /** `<FLOWOPS_HOME>/cache/bundles`. */
  readonly dir: string;
  readonly maxBytes?: number;
  readonly memoryBytes?: number;
  /** Digests pinned by runs that are not final: kept whatever the cap says. Asked once a sweep. */
  readonly pinned?: () => Promise<ReadonlySet<string>>;
  readonly onProblem?: (message: string) => void;
}

export class BundleCache {
  readonly #store: ContentStore;
  readonly #memoryBytes: number;
  /** Least recently used first. */
  readonly #recent = new Map<string, Content>();
  #recentBytes = 0;
  readonly #manifests = new Map<string, Manifest>();
  /** Empty text: known to have none. */
  readonly #signatures = new Map<string, string>();

  constructor(options: BundleCacheOptions) {
    this.#memoryBytes = options.memoryBytes ?? DEFAULT_MEMORY_BYTES;
    this.#store = new ContentStore({
      dir: join(options.dir, 'sha256'),
      ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
      ...(options.pinned === undefined ? {} : { pinned: options.pinned }),
      ...(options.onProblem === undefined ? {} : { onProblem: options.onProblem }),
    });
  }

  /** Undefined when it is in neither place, or was damaged. */
  async get(digest: string): Promise<Content | undefined> {
    const recent = this.#recent.get(digest);
    if (recent !== undefined) {
      if (digestOf(recent.bytes) === digest) {
        this.#keep(recent);
        return recent;
      }
      this.#drop(digest);
    }
    const stored = await this.#store.read(digest);
    if (stored !== undefined) this.#keep(stored);
    return stored;
  }

  /** The manifest of a bundle whose bytes `get` can give now. */
  async manifestOf(digest: string): Promise<Manifest | undefined> {
    const known = this.#manifests.get(digest);
    if (known !== undefined && (this.#recent.has(digest) || (await this.#store.has(digest)))) return known;
    const content = await this.get(digest);
    if (content === undefined) return undefined;
    const read = readBundleManifest(content.bytes);
    if (!read.ok) return undefined;
    keepRecent(this.#manifests, digest, read.manifest, MAX_MANIFESTS);
    return read.manifest;
  }

  /** Text of the newest .sig file that came for these bytes. */
  async signatureOf(digest: string): Promise<string | undefined> {
    const known = this.#signatures.get(digest) ?? (await this.#store.readSignature(digest)) ?? '';
    keepRecent(this.#signatures, digest, known, MAX_SIGNATURES);
    return known === '' ? undefined : known;
  }

  /** The bytes were signed, or signed anew, after they came here. */
  async putSignature(digest: string, signature: string): Promise<void> {
    if ((await this.signatureOf(digest)) === signature) return;
    keepRecent(this.#signatures, digest, signature, MAX_SIGNATURES);
    await this.#store.writeSignature(digest, signature);
  }

  /** Takes only what this engine can run. @throws when the bytes do not have that digest (a bug of the caller). */
  async put(content: Content): Promise<ReadManifest> {
    const read = readBundleManifest(content.bytes);
    if (!read.ok) return read;
    await this.#store.write(content);
    this.#keep(content);
    keepRecent(this.#manifests, content.digest, read.manifest, MAX_MANIFESTS);
    if (content.signature !== undefined) {
      keepRecent(this.#signatures, content.digest, content.signature, MAX_SIGNATURES);
    }
    return read;
  }

  #keep(content: Content): void {
    this.#drop(content.digest);
    this.#recent.set(content.digest, content);
    this.#recentBytes += sizeOf(content);
    for (const oldest of this.#recent.keys()) {
      if (this.#recentBytes <= this.#memoryBytes) break;
      this.#drop(oldest);
    }
  }

  #drop(digest: string): void {
    const content = this.#recent.get(digest);
    if (content === undefined) return;
    this.#recent.delete(digest);
    this.#recentBytes -= sizeOf(content);
  }
}

/** The one kept longest ago goes first. */
function keepRecent<T>(map: Map<string, T>, digest: string, value: T, max: number): void {
  map.delete(digest);
  map.set(digest, value);
  const [oldest] = map.keys();
  if (map.size > max && oldest !== undefined) map.delete(oldest);
}

function sizeOf(content: Content): number {
  return content.bytes.length + (content.signature?.length ?? 0) + (content.sourceMap?.length ?? 0);
}
