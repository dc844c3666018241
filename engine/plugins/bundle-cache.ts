/**
 * Bundles by digest: on disk under `<dir>/sha256/<hex>`, and the recently used ones in memory. Every read is checked
 * against the digest, so a damaged file is a miss (and removed), never a bundle. Bounded on disk and in memory; a
 * bundle that a run has pinned is never removed from disk. Knows nothing of servers or plugin ids.
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
    this.#keepManifest(digest, read.manifest);
    return read.manifest;
  }

  /** Takes only what this engine can run. @throws when the bytes do not have that digest (a bug of the caller). */
  async put(content: Content): Promise<ReadManifest> {
    const read = readBundleManifest(content.bytes);
    if (!read.ok) return read;
    await this.#store.write(content);
    this.#keep(content);
    this.#keepManifest(content.digest, read.manifest);
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

  #keepManifest(digest: string, manifest: Manifest): void {
    this.#manifests.delete(digest);
    this.#manifests.set(digest, manifest);
    const [oldest] = this.#manifests.keys();
    if (this.#manifests.size > MAX_MANIFESTS && oldest !== undefined) this.#manifests.delete(oldest);
  }
}

function sizeOf(content: Content): number {
  return content.bytes.length + (content.signature?.length ?? 0) + (content.sourceMap?.length ?? 0);
}
