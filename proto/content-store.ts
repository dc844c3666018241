/**
 * Bytes on disk under their own SHA-256: `<dir>/<64 hex>`, with two optional companions, `.sig` and `.map`, that are no
 * part of the digest. Used by the engine's bundle cache and by the build cache of a plugin folder.
 *
 * Invariants: (1) what `read` gives has the digest it was asked for; a file that has not is removed. (2) A file appears
 * whole or not at all, also after a crash, also with several processes on one folder. (3) The total is bounded: beyond
 * `maxBytes` the least recently used go, never a pinned one. (4) A disk that is full or read-only is told through
 * `onProblem` and costs speed only.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from './errors.ts';
import { digestOf, isDigest } from './ids.ts';

/** Enough for some ten thousand usual bundles of a few dozen KB. */
export const DEFAULT_STORE_BYTES = 1024 * 1024 * 1024;
/** A sweep goes a little below the cap, so that a full store does not sweep at every write. */
const SWEEP_TO_SHARE = 0.9;
/** A temporary file this old was left by a process that died while it wrote. */
const STALE_TMP_MS = 3_600_000;
const COMPANIONS = ['sig', 'map'] as const;

export interface Content {
  readonly digest: string;
  readonly bytes: Uint8Array;
  readonly signature?: string;
  readonly sourceMap?: string;
}

export interface ContentStoreOptions {
  readonly dir: string;
  readonly maxBytes?: number;
  /** Digests (`sha256:…`) that a sweep must keep, asked once a sweep. */
  readonly pinned?: () => Promise<ReadonlySet<string>>;
  readonly onProblem?: (message: string) => void;
}

interface StoredFile {
  readonly hex: string;
  readonly bytes: number;
  readonly usedMs: number;
}

export class ContentStore {
  readonly #dir: string;
  readonly #maxBytes: number;
  readonly #pinned: () => Promise<ReadonlySet<string>>;
  readonly #onProblem: (message: string) => void;
  /** Sum of the file sizes; undefined until the first write counted them. */
  #totalBytes: number | undefined;
  #sweep: Promise<void> | undefined;

  constructor(options: ContentStoreOptions) {
    this.#dir = options.dir;
    this.#maxBytes = options.maxBytes ?? DEFAULT_STORE_BYTES;
    this.#pinned = options.pinned ?? (async () => new Set());
    this.#onProblem = options.onProblem ?? (() => {});
  }

  /** Undefined when it is not there, or was there with other bytes. */
  async read(digest: string): Promise<Content | undefined> {
    const path = this.#pathOf(digest);
    if (path === undefined) return undefined;
    const bytes = await readFile(path).catch(() => undefined);
    if (bytes === undefined) return undefined;
    if (digestOf(bytes) !== digest) {
      this.#onProblem(`${path} no longer has the bytes it was stored with; it was removed and will be fetched again`);
      await this.remove(digest);
      return undefined;
    }
    const now = new Date();
    // The access time is ours to set: many machines mount without it.
    await utimes(path, now, now).catch(() => {});
    const [signature, sourceMap] = await Promise.all(
      COMPANIONS.map((kind) => readFile(`${path}.${kind}`, 'utf8').catch(() => undefined)),
    );
    return {
      digest,
      bytes,
      ...(signature === undefined ? {} : { signature }),
      ...(sourceMap === undefined ? {} : { sourceMap }),
    };
  }

  async has(digest: string): Promise<boolean> {
    const path = this.#pathOf(digest);
    if (path === undefined) return false;
    return await stat(path).then(
      (file) => file.isFile(),
      () => false,
    );
  }

  /** @returns false when the disk did not take it; the reason went to `onProblem`. */
  async write(content: Content): Promise<boolean> {
    const path = this.#pathOf(content.digest);
    if (path === undefined || digestOf(content.bytes) !== content.digest) {
      throw new Error(`bytes stored under a digest that is not theirs: ${content.digest}`);
    }
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      if (content.signature !== undefined) await writeAtomically(`${path}.sig`, content.signature);
      if (content.sourceMap !== undefined) await writeAtomically(`${path}.map`, content.sourceMap);
      if (!(await this.has(content.digest))) {
        await writeAtomically(path, content.bytes);
        await this.#count(content);
      }
      return true;
    } catch (thrown) {
      this.#onProblem(`cannot store in ${this.#dir}: ${messageOf(thrown)}`);
      return false;
    }
  }

  /** Text of the signature that is kept with a digest. */
  async readSignature(digest: string): Promise<string | undefined> {
    const path = this.#pathOf(digest);
    return path === undefined ? undefined : await readFile(`${path}.sig`, 'utf8').catch(() => undefined);
  }

  /** Keeps a signature that came after the bytes. Nothing happens when these are not here. */
  async writeSignature(digest: string, signature: string): Promise<void> {
    const path = this.#pathOf(digest);
    if (path === undefined || !(await this.has(digest))) return;
    try {
      await writeAtomically(`${path}.sig`, signature);
    } catch (thrown) {
      this.#onProblem(`cannot store in ${this.#dir}: ${messageOf(thrown)}`);
    }
  }

  async remove(digest: string): Promise<void> {
    const path = this.#pathOf(digest);
    if (path === undefined) return;
    this.#totalBytes = undefined;
    await Promise.all(['', '.sig', '.map'].map((end) => rm(`${path}${end}`, { force: true }).catch(() => {})));
  }

  #pathOf(digest: string): string | undefined {
    return isDigest(digest) ? join(this.#dir, digest.slice('sha256:'.length)) : undefined;
  }

  async #count(content: Content): Promise<void> {
    const added = content.bytes.length + (content.signature?.length ?? 0) + (content.sourceMap?.length ?? 0);
    this.#totalBytes = this.#totalBytes === undefined ? sum(await this.#list()) : this.#totalBytes + added;
    if (this.#totalBytes <= this.#maxBytes) return;
    this.#sweep ??= this.#sweepOld().finally(() => {
      this.#sweep = undefined;
    });
    await this.#sweep;
  }

  async #sweepOld(): Promise<void> {
    const files = (await this.#list()).sort((a, b) => a.usedMs - b.usedMs);
    const pinned = await this.#pinned();
    let total = sum(files);
    for (const file of files) {
      if (total <= this.#maxBytes * SWEEP_TO_SHARE) break;
      const digest = `sha256:${file.hex}`;
      if (pinned.has(digest)) continue;
      await this.remove(digest);
      total -= file.bytes;
    }
    this.#totalBytes = total;
  }

  /** One entry a digest, its companions counted in; removes what dead writers left. */
  async #list(): Promise<StoredFile[]> {
    const bytesOf = new Map<string, number>();
    const usedOf = new Map<string, number>();
    for (const name of await readdir(this.#dir)) {
      const path = join(this.#dir, name);
      const file = await stat(path).catch(() => undefined);
      if (file === undefined) continue;
      if (name.endsWith('.tmp')) {
        if (Date.now() - file.mtimeMs > STALE_TMP_MS) await rm(path, { force: true });
        continue;
      }
      const hex = name.split('.', 1)[0] ?? name;
      bytesOf.set(hex, (bytesOf.get(hex) ?? 0) + file.size);
      if (hex === name) usedOf.set(hex, file.atimeMs);
    }
    return [...bytesOf].map(([hex, bytes]) => ({ hex, bytes, usedMs: usedOf.get(hex) ?? 0 }));
  }
}

function sum(files: readonly StoredFile[]): number {
  return files.reduce((total, file) => total + file.bytes, 0);
}

/** Writes a file that is seen whole or not at all: temporary file beside it, fsync, rename. */
export async function writeAtomically(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true }).catch(() => {});
    throw thrown;
  }
}
