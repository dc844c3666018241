/**
 * A folder of published bundles: `<pluginId>/<version>.js`, beside it `.js.sig` when signed, `.js.map` when published
 * with one, `.js.withdrawn` (empty) when taken out of latest. The folder is the truth: whatever appears in it, also by
 * `cp`, is served; what is kept in memory is only what was read and is checked against the file's stat at each use.
 *
 * Invariants: (1) no text from outside becomes a path before it passed isPluginId or versionSchema. (2) The bytes of a
 * version never change by a publish. (3) A version is seen whole or not at all. (4) A broken file hides no other.
 */
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '@flowops/proto/content-store.ts';
import { digestOf, isPluginId, nearestName, pluginVersionUuid } from '@flowops/proto/ids.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';
import { readBundleManifest, versionSchema } from '@flowops/proto/manifest.ts';
import semver from 'semver';
import type { Companions, IndexedContent } from './registry-files.ts';
import {
  companionProblem,
  createWhole,
  FILE_MODE,
  indexFile,
  readCompanions,
  readSignature,
  removeCompanions,
  syncFolder,
  writeCompanions,
} from './registry-files.ts';

/** A folder's mtime is as coarse as the kernel's tick: a listing read this soon after a change may have missed one. */
const RACY_MS = 50;
/** The highest versions named in one message. */
const MAX_TOLD_VERSIONS = 8;

export interface PluginVersion {
  readonly pluginId: string;
  readonly version: string;
  /** `PluginMetadata.id`. */
  readonly uuid: string;
  readonly digest: string;
  readonly manifest: Manifest;
  readonly publishedAt: Date;
  readonly isWithdrawn: boolean;
}

export type FindResult =
  | { readonly kind: 'found'; readonly version: PluginVersion }
  /** The text is no pluginId, version or UUID at all. */
  | { readonly kind: 'malformed'; readonly message: string }
  | { readonly kind: 'missing'; readonly message: string }
  /** The file is there and is no bundle this engine can run. */
  | { readonly kind: 'broken'; readonly message: string };

export type ReadResult =
  | { readonly kind: 'read'; readonly files: VersionFiles }
  | Exclude<FindResult, { kind: 'found' }>;

export interface VersionFiles extends Companions {
  readonly version: PluginVersion;
  readonly bytes: Uint8Array;
}

export interface Publication extends Companions {
  /** Default: the manifest's name. */
  readonly pluginId?: string;
  readonly bytes: Uint8Array;
}

export type PublishResult =
  | { readonly kind: 'stored' | 'unchanged'; readonly version: PluginVersion }
  | { readonly kind: 'malformed' | 'broken' | 'exists'; readonly message: string };

/** What is known of one file, valid while its stat stays the same. */
interface IndexedFile {
  readonly stamp: string;
  readonly content: IndexedContent;
}

interface PluginListing {
  readonly stamp: string;
  readonly readAtMs: number;
  /** Versions that have a `.js` file, highest first. */
  readonly versions: readonly string[];
  readonly withdrawn: ReadonlySet<string>;
}

export class RegistryFolder {
  readonly #dir: string;
  readonly #log: (message: string) => void;
  readonly #listings = new Map<string, PluginListing>();
  readonly #files = new Map<string, IndexedFile>();
  /** One publish at a time a plugin: compare and store have to be one. */
  readonly #publishing = new Map<string, Promise<unknown>>();

  constructor(dir: string, log: (message: string) => void = () => {}) {
    this.#dir = dir;
    this.#log = log;
  }

  /** @param id a version, the UUID of one, or empty for the latest release that is not withdrawn. */
  async find(pluginId: string, id: string): Promise<FindResult> {
    if (!isPluginId(pluginId)) return { kind: 'malformed', message: malformedId(pluginId) };
    const folder = folderOf(pluginId);
    const listing = await this.#list(folder);
    if (listing.versions.length === 0) return { kind: 'missing', message: await this.#noPlugin(pluginId) };
    if (id === '') return await this.#latest(folder, listing);
    const version = listing.versions.find(
      (candidate) => candidate === id || pluginVersionUuid(folder, candidate) === id.toLowerCase(),
    );
    if (version !== undefined) return await this.#open(folder, version, listing);
    if (!isVersion(id) && !isUuid(id)) {
      return { kind: 'malformed', message: `${quote(id)} is no version and no id of one` };
    }
    return {
      kind: 'missing',
      message: `${quote(pluginId)} has no version ${quote(id)}; it has ${listing.versions.slice(0, MAX_TOLD_VERSIONS).join(', ')}`,
    };
  }

  /** Finds a version and reads its files; the bytes are those the digest was made of. */
  async read(pluginId: string, id: string): Promise<ReadResult> {
    const found = await this.find(pluginId, id);
    if (found.kind !== 'found') return found;
    const { version } = found;
    const path = this.#path(folderOf(pluginId), version.version);
    const bytes = await readFile(path).catch(() => undefined);
    if (bytes === undefined || digestOf(bytes) !== version.digest) {
      return {
        kind: 'broken',
        message: `${quote(pluginId)} ${version.version} is being replaced right now; try again`,
      };
    }
    return { kind: 'read', files: { version, bytes, ...(await readCompanions(path)) } };
  }

  /** Text of a version's `.js.sig`; undefined when there is none, or its bytes are not those of the digest. */
  async signatureOf(pluginId: string, version: string, digest: string): Promise<string | undefined> {
    const found = await this.find(pluginId, version);
    if (found.kind !== 'found' || found.version.digest !== digest) return undefined;
    return await readSignature(this.#path(folderOf(pluginId), found.version.version));
  }

  /** Every version of a plugin that can be read, highest first; withdrawn ones included. */
  async versions(pluginId: string): Promise<PluginVersion[]> {
    if (!isPluginId(pluginId)) return [];
    const folder = folderOf(pluginId);
    const listing = await this.#list(folder);
    const readable: PluginVersion[] = [];
    for (const version of listing.versions) {
      const opened = await this.#open(folder, version, listing);
      if (opened.kind === 'found') readable.push(opened.version);
    }
    return readable;
  }

  /** The ids that have a folder here, sorted. */
  async pluginIds(): Promise<string[]> {
    const names = await readdir(this.#dir).catch(() => []);
    return names.filter(isPluginId).sort();
  }

  async publish(publication: Publication): Promise<PublishResult> {
    const read = readBundleManifest(publication.bytes);
    if (!read.ok) return { kind: 'broken', message: read.problem };
    const pluginId = publication.pluginId ?? read.manifest.name;
    if (!isPluginId(pluginId)) return { kind: 'malformed', message: malformedId(pluginId) };
    const problem = companionProblem(publication);
    if (problem !== undefined) return { kind: 'malformed', message: problem };
    const folder = folderOf(pluginId);
    const before = this.#publishing.get(folder) ?? Promise.resolve();
    const store = before.catch(() => {}).then(() => this.#store(folder, read.manifest.version, publication));
    this.#publishing.set(folder, store);
    try {
      return await store;
    } finally {
      if (this.#publishing.get(folder) === store) this.#publishing.delete(folder);
    }
  }

  /** Takes a version out of latest, or puts it back. Who names it exactly still gets it. */
  async withdraw(pluginId: string, version: string, options: { restore: boolean }): Promise<FindResult> {
    if (!isVersion(version)) return { kind: 'malformed', message: `${quote(version)} is no version like 1.0.0` };
    const found = await this.find(pluginId, version);
    if (found.kind !== 'found') return found;
    const mark = `${this.#path(folderOf(pluginId), version)}.withdrawn`;
    if (options.restore) await rm(mark, { force: true });
    else await writeAtomically(mark, '', FILE_MODE);
    await syncFolder(join(this.#dir, folderOf(pluginId)));
    this.#listings.delete(folderOf(pluginId));
    return await this.find(pluginId, version);
  }

  async #store(folder: string, version: string, publication: Publication): Promise<PublishResult> {
    const path = this.#path(folder, version);
    await mkdir(join(this.#dir, folder), { recursive: true });
    const digest = digestOf(publication.bytes);
    const isNew = (await stat(path).catch(() => undefined)) === undefined;
    if (isNew) {
      // The bundle comes last: who sees it also sees its companions.
      await removeCompanions(path);
      await writeCompanions(path, publication);
      await createWhole(path, publication.bytes);
      await syncFolder(join(this.#dir, folder));
    }
    this.#listings.delete(folder);
    const found = await this.find(folder, version);
    if (found.kind !== 'found') return { kind: 'broken', message: found.message };
    if (found.version.digest !== digest) {
      const published = found.version.isWithdrawn ? 'published, and withdrawn,' : 'published';
      return {
        kind: 'exists',
        message: `${folder} ${version} is ${published} with other bytes (${found.version.digest}); raise the version`,
      };
    }
    if (!isNew) await writeCompanions(path, publication);
    return { kind: isNew ? 'stored' : 'unchanged', version: found.version };
  }

  async #latest(folder: string, listing: PluginListing): Promise<FindResult> {
    let firstBroken: FindResult | undefined;
    for (const version of listing.versions) {
      if (listing.withdrawn.has(version) || semver.prerelease(version) !== null) continue;
      const opened = await this.#open(folder, version, listing);
      if (opened.kind === 'found') return opened;
      firstBroken ??= opened;
    }
    if (firstBroken !== undefined) return firstBroken;
    const told = listing.versions.slice(0, MAX_TOLD_VERSIONS).map((version) => {
      return `${version} (${listing.withdrawn.has(version) ? 'withdrawn' : 'a pre-release'})`;
    });
    return {
      kind: 'missing',
      message: `${quote(folder)} has no release that is not withdrawn; only who names one exactly gets ${told.join(', ')}`,
    };
  }

  /** Reads a version's file again only when its stat changed. */
  async #open(folder: string, version: string, listing: PluginListing): Promise<FindResult> {
    const path = this.#path(folder, version);
    const status = await stat(path).catch(() => undefined);
    if (status === undefined) {
      this.#files.delete(path);
      return { kind: 'missing', message: `${quote(folder)} has no version ${version}` };
    }
    const stamp = `${status.ino}:${status.size}:${status.mtimeMs}:${status.ctimeMs}`;
    let file = this.#files.get(path);
    if (file?.stamp !== stamp) {
      file = { stamp, content: await indexFile(path, version, status) };
      this.#files.set(path, file);
      if (!file.content.ok) this.#log(`${path} is not served: ${file.content.problem}`);
    }
    const { content } = file;
    if (!content.ok) return { kind: 'broken', message: `${folder} ${version}: ${content.problem}` };
    return {
      kind: 'found',
      version: {
        pluginId: folder,
        version,
        uuid: pluginVersionUuid(folder, version),
        digest: content.digest,
        manifest: content.manifest,
        publishedAt: content.publishedAt,
        isWithdrawn: listing.withdrawn.has(version),
      },
    };
  }

  async #list(folder: string): Promise<PluginListing> {
    const path = join(this.#dir, folder);
    const status = await stat(path).catch(() => undefined);
    if (status === undefined || !status.isDirectory()) {
      this.#listings.delete(folder);
      return { stamp: '', readAtMs: 0, versions: [], withdrawn: new Set() };
    }
    const stamp = `${status.ino}:${status.mtimeMs}:${status.ctimeMs}`;
    const known = this.#listings.get(folder);
    if (known?.stamp === stamp && known.readAtMs - status.mtimeMs > RACY_MS) return known;
    const readAtMs = Date.now();
    const names = await readdir(path).catch(() => []);
    const versions = names.filter((name) => name.endsWith('.js')).map((name) => name.slice(0, -'.js'.length));
    const marks = names.filter((name) => name.endsWith('.js.withdrawn'));
    const listing: PluginListing = {
      stamp,
      readAtMs,
      versions: versions.filter(isVersion).sort(semver.rcompare),
      withdrawn: new Set(marks.map((name) => name.slice(0, -'.js.withdrawn'.length))),
    };
    this.#listings.set(folder, listing);
    return listing;
  }

  async #noPlugin(pluginId: string): Promise<string> {
    const nearest = nearestName(pluginId, await this.pluginIds());
    return `no plugin ${quote(pluginId)} is published here${nearest === undefined ? '' : `; the nearest is ${quote(nearest)}`}`;
  }

  #path(folder: string, version: string): string {
    return join(this.#dir, folder, `${version}.js`);
  }
}

/** Whether a folder has the layout of a registry: at least one `<pluginId>/<version>.js`. */
export async function isRegistryFolder(dir: string): Promise<boolean> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (!(entry.isDirectory() || entry.isSymbolicLink()) || !isPluginId(entry.name)) continue;
    const names = await readdir(join(dir, entry.name)).catch(() => []);
    if (names.some((name) => name.endsWith('.js') && isVersion(name.slice(0, -'.js'.length)))) return true;
  }
  return false;
}

/** UUIDs are written in any letter case; a folder has one name. */
function folderOf(pluginId: string): string {
  return pluginId.toLowerCase();
}

function isVersion(text: string): boolean {
  return versionSchema.safeParse(text).success;
}

function isUuid(text: string): boolean {
  return text.length === 36 && isPluginId(text) && text.split('-').length === 5;
}

/** Text from outside in a message: short, so that a 100 KB id does not become a 100 KB answer. */
function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}

function malformedId(pluginId: string): string {
  return `${quote(pluginId)} is no pluginId: a UUID, or 1 to 128 characters of a-z 0-9 . _ - that begin with a letter or digit`;
}
