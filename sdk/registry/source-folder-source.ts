/**
 * A folder of plugin sources and bundles as a source of plugins, for a person at a desk: `flowops run --plugins DIR`.
 * The pluginId is the manifest's name. Builds only what is asked for (see source-entries.ts), each file once at a time.
 *
 * Invariants: (1) a plugin that cannot be built hides no other; what is wrong with it is told when a name is not found.
 * (2) A changed file is seen at the next resolve; a digest given out before stays served.
 */

import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import type { ContentStore } from '@flowops/proto/content-store.ts';
import { errorInfo, messageOf } from '@flowops/proto/errors.ts';
import { isDigest, nearestName } from '@flowops/proto/ids.ts';
import { readBundleManifest } from '@flowops/proto/manifest.ts';
import type { BundleResult, PluginSource, ResolvedPlugin, ResolveResult } from '@flowops/proto/plugin-source.ts';
import { pluginVersionProblem } from '@flowops/proto/plugin-version.ts';
import semver from 'semver';
import type { OpenSandbox } from '../build/build-result.ts';
import { formatProblem } from '../build/build-result.ts';
import { loadPluginFile } from '../build/load-plugin-file.ts';
import { KeptBundles } from './kept-bundles.ts';
import type { FolderContents, SourceEntry } from './source-entries.ts';
import { readFolder, refreshEntry } from './source-entries.ts';

/** How long a look at the whole folder, and at the files that a plugin imports, is trusted when nothing seems to move. */
const LOOK_FRESH_MS = 1_000;
/** A folder's mtime is as coarse as the kernel's tick: a look this soon after a change may have missed one. */
const RACY_MS = 50;
/** Folders remembered for errors: more builds than a person makes while one process lives. */
const MAX_SOURCE_FOLDERS = 1_000;
/** Problems named in one message. */
const MAX_TOLD_PROBLEMS = 5;

export interface SourceFolderOptions {
  readonly dir: string;
  readonly store: ContentStore;
  readonly cacheDir: string;
  readonly sandbox: OpenSandbox;
  readonly log: (message: string) => void;
  /** For tests; builds or reads one file. */
  readonly load?: typeof loadPluginFile;
}

type Failed = Extract<ResolveResult, { ok: false }>;

interface Loaded {
  readonly entry: SourceEntry;
  readonly result: { readonly ok: true; readonly plugin: ResolvedPlugin } | Failed;
}

interface Look extends FolderContents {
  readonly stamp: string;
  readonly atMs: number;
}

export class SourceFolderSource implements PluginSource {
  readonly #options: SourceFolderOptions;
  readonly #kept: KeptBundles;
  readonly #closing = new AbortController();
  readonly #loaded = new Map<
    string,
    { readonly stamp: string; readonly atMs: number; readonly load: Promise<Loaded> }
  >();
  /** By digest, of what was built here. */
  readonly #sourceFolders = new Map<string, string>();
  #look: Promise<Look> | undefined;

  constructor(options: SourceFolderOptions) {
    this.#options = options;
    this.#kept = new KeptBundles(options.store);
  }

  async resolve(pluginId: string, version: string | undefined, signal: AbortSignal): Promise<ResolveResult> {
    const problem = version === undefined ? undefined : pluginVersionProblem(version);
    if (problem !== undefined) return { ok: false, code: 'PLUGIN_NOT_FOUND', message: `the version ${problem}` };
    const stopped: Failed = { ok: false, code: 'CANCELLED', message: `nobody waits for plugin ${pluginId} any more` };
    const resolving = this.#resolve(pluginId, version).catch((thrown: unknown): Failed => {
      const message = `the plugin folder ${this.#options.dir} cannot be read: ${messageOf(thrown)}`;
      return { ok: false, code: 'SANDBOX_UNAVAILABLE', message };
    });
    return await unlessAborted(signal, stopped, resolving);
  }

  async bundle(
    plugin: { pluginId: string; version: string; digest: string },
    _signal: AbortSignal,
  ): Promise<BundleResult> {
    const kept = await this.#kept.read(plugin.digest);
    if (kept !== undefined) return { ok: true, bundle: kept };
    // The cache lost it; an unchanged file still builds to it.
    const resolved = await this.#resolve(plugin.pluginId, plugin.version);
    const again = resolved.ok ? await this.#kept.read(plugin.digest) : undefined;
    if (again !== undefined) return { ok: true, bundle: again };
    return {
      ok: false,
      code: 'PLUGIN_NOT_FOUND',
      message: `${plugin.pluginId} ${plugin.version} has changed in ${this.#options.dir}, and the cache no longer has ${plugin.digest}`,
    };
  }

  signature({ digest }: { digest: string }): Promise<string | undefined> {
    return this.#kept.signatureOf(digest);
  }

  async sourceMap(digest: string): Promise<string | undefined> {
    return (await this.#kept.read(digest))?.sourceMap;
  }

  sourceFolder(digest: string): string | undefined {
    return this.#sourceFolders.get(digest);
  }

  async names(signal: AbortSignal): Promise<readonly string[]> {
    const all = await unlessAborted(signal, [], this.#loadAll((await this.#lookAround()).entries));
    return [...new Set(all.flatMap(({ result }) => (result.ok ? [result.plugin.pluginId] : [])))].sort();
  }

  /** Idempotent. Builds that run are given up. */
  async close(): Promise<void> {
    this.#closing.abort();
  }

  async #resolve(pluginId: string, version: string | undefined): Promise<ResolveResult> {
    if (version !== undefined && isDigest(version)) {
      const kept = await this.#resolveKept(pluginId, version);
      if (kept !== undefined) return kept;
    }
    const look = await this.#lookAround();
    const [likely, others] = partition(look.entries, (entry) => entry.mentions.has(pluginId));
    const first = await this.#loadAll(likely);
    const chosen = choose(first, pluginId, version);
    if (chosen !== undefined) return chosen;
    const all = [...first, ...(await this.#loadAll(others))];
    return choose(all, pluginId, version) ?? notFound({ pluginId, version, dir: this.#options.dir, all, look });
  }

  async #resolveKept(pluginId: string, digest: string): Promise<ResolveResult | undefined> {
    const content = await this.#kept.read(digest);
    if (content === undefined) return undefined;
    const read = readBundleManifest(content.bytes);
    if (!read.ok || read.manifest.name !== pluginId) return undefined;
    return { ok: true, plugin: { pluginId, digest, manifest: read.manifest } };
  }

  /** The folder's contents; read again when it changed, or when the last look is a second old. */
  async #lookAround(): Promise<Look> {
    const status = await stat(this.#options.dir).catch(() => undefined);
    const stamp = `${status?.mtimeMs}:${status?.ctimeMs}`;
    const last = await this.#look?.catch(() => undefined);
    const now = Date.now();
    const isTrusted = last !== undefined && last.stamp === stamp && last.atMs - (status?.mtimeMs ?? 0) > RACY_MS;
    if (last !== undefined && isTrusted && now - last.atMs < LOOK_FRESH_MS) return last;
    const known = new Map(last?.entries.map((entry) => [entry.name, entry]));
    const look = readFolder(this.#options.dir, known).then((contents) => ({ ...contents, stamp, atMs: now }));
    this.#look = look;
    return await look;
  }

  async #loadAll(entries: readonly SourceEntry[]): Promise<Loaded[]> {
    const loaded: Loaded[] = [];
    const left = (await Promise.all(entries.map(refreshEntry))).filter((entry) => entry !== undefined);
    const work = async () => {
      for (let entry = left.shift(); entry !== undefined; entry = left.shift()) loaded.push(await this.#load(entry));
    };
    await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, work));
    return loaded.sort((a, b) => (a.entry.name < b.entry.name ? -1 : 1));
  }

  /** One build of a file at a time; what it imports is looked at again after a second. */
  #load(entry: SourceEntry): Promise<Loaded> {
    const known = this.#loaded.get(entry.file);
    if (known?.stamp === entry.stamp && Date.now() - known.atMs < LOOK_FRESH_MS) return known.load;
    const load = this.#loadNow(entry);
    this.#loaded.set(entry.file, { stamp: entry.stamp, atMs: Date.now(), load });
    return load;
  }

  async #loadNow(entry: SourceEntry): Promise<Loaded> {
    const { cacheDir, sandbox, log, load = loadPluginFile } = this.#options;
    try {
      const built = await load(entry.file, { cacheDir, sandbox, signal: this.#closing.signal });
      if (!built.ok) return { entry, result: { ok: false, code: built.code, message: built.message } };
      for (const warning of built.warnings) log(formatProblem(warning));
      const { digest, manifest, bundle: bytes, sourceMap, signature } = built;
      await this.#kept.keep({
        digest,
        bytes,
        ...(sourceMap === '' ? {} : { sourceMap }),
        ...(signature === undefined ? {} : { signature }),
      });
      if (!entry.isBundle) this.#rememberFolder(digest, dirname(entry.file));
      return { entry, result: { ok: true, plugin: { pluginId: manifest.name, digest, manifest } } };
    } catch (thrown) {
      // Not the plugin's fault (no permission, disk): a later try may work, and the other plugins go on.
      return { entry, result: { ok: false, code: 'SANDBOX_UNAVAILABLE', message: messageOf(thrown) } };
    }
  }

  #rememberFolder(digest: string, folder: string): void {
    if (this.#sourceFolders.size >= MAX_SOURCE_FOLDERS) this.#sourceFolders.clear();
    this.#sourceFolders.set(digest, folder);
  }
}

/** The version asked for among what was loaded; undefined when none of these is the plugin. */
function choose(loaded: readonly Loaded[], pluginId: string, version: string | undefined): ResolveResult | undefined {
  const matching = loaded.flatMap(({ entry, result }) =>
    result.ok && result.plugin.pluginId === pluginId ? [{ entry, plugin: result.plugin }] : [],
  );
  const wanted = matching
    .filter(({ plugin }) => {
      if (version === undefined) return semver.prerelease(plugin.manifest.version) === null;
      return plugin.manifest.version === version || plugin.digest === version;
    })
    .sort((a, b) => semver.rcompare(a.plugin.manifest.version, b.plugin.manifest.version));
  const best = wanted[0];
  if (best === undefined) return undefined;
  const same = wanted.filter(({ plugin }) => plugin.manifest.version === best.plugin.manifest.version);
  // A bundle beside its own source is what `plugin build` leaves there: the source is the truth.
  const sources = same.filter(({ entry }) => !entry.isBundle);
  const [first = best, ...rest] = sources.length > 0 ? sources : same;
  const rival = rest.find(({ plugin }) => plugin.digest !== first.plugin.digest);
  if (rival !== undefined) {
    return {
      ok: false,
      code: 'PLUGIN_INVALID',
      message: `${first.entry.name} and ${rival.entry.name} are both ${pluginId} ${best.plugin.manifest.version} with different code; raise the version of one or move it away`,
    };
  }
  return { ok: true, plugin: first.plugin };
}

interface Search {
  readonly pluginId: string;
  readonly version: string | undefined;
  readonly dir: string;
  readonly all: readonly Loaded[];
  readonly look: FolderContents;
}

function notFound({ pluginId, version, dir, all, look }: Search): Failed {
  const name = JSON.stringify(pluginId.slice(0, 128));
  const own = all.flatMap(({ result }) => (result.ok && result.plugin.pluginId === pluginId ? [result.plugin] : []));
  if (own.length > 0) {
    const versions = own.map((plugin) => plugin.manifest.version).join(', ');
    const asked = version === undefined ? 'no release' : `no ${version}`;
    const advice = version === undefined ? '; a pre-release has to be named exactly, with pluginVersion' : '';
    const message = `plugin ${name} in ${dir} has ${asked}, only ${versions}${advice}`;
    return { ok: false, code: 'PLUGIN_NOT_FOUND', message };
  }
  // A file that names the plugin and cannot be built is most likely it: then that is the error.
  const culprit = all.find(({ entry, result }) => !result.ok && entry.mentions.has(pluginId));
  if (culprit !== undefined && !culprit.result.ok) {
    const { code, message } = culprit.result;
    return { ok: false, code, message: `plugin ${name} could not be built from ${culprit.entry.name}: ${message}` };
  }
  // What could not be looked into may be it: only a later try can tell.
  const unread = all.find(({ result }) => !result.ok && errorInfo(result.code).fault === 'infrastructure');
  if (unread !== undefined && !unread.result.ok) {
    const { code, message } = unread.result;
    return {
      ok: false,
      code,
      message: `plugin ${name} was not found in ${dir}, but ${unread.entry.name} could not be read: ${message}`,
    };
  }
  const names = all.flatMap(({ result }) => (result.ok ? [result.plugin.pluginId] : []));
  const nearest = nearestName(pluginId, names);
  const hint = nearest === undefined ? '' : `; the nearest is ${JSON.stringify(nearest)}`;
  return {
    ok: false,
    code: 'PLUGIN_NOT_FOUND',
    message: `no plugin ${name} in ${dir}${hint}${tellProblems(all, look)}`,
  };
}

function tellProblems(all: readonly Loaded[], look: FolderContents): string {
  const problems = [
    ...all.flatMap(({ entry, result }) => (result.ok ? [] : [`${entry.name}: ${firstLine(result.message)}`])),
    ...look.unclear.map(({ name, problem }) => `${name}: ${firstLine(problem)}`),
  ];
  if (problems.length === 0) return '';
  const more = problems.length > MAX_TOLD_PROBLEMS ? `; and ${problems.length - MAX_TOLD_PROBLEMS} more` : '';
  return `; and these could not be built: ${problems.slice(0, MAX_TOLD_PROBLEMS).join('; ')}${more}`;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

/** The work goes on for others who wait for it; only this caller leaves. */
function unlessAborted<T>(signal: AbortSignal, otherwise: T, work: Promise<T>): Promise<T> {
  if (signal.aborted) return Promise.resolve(otherwise);
  return new Promise((resolve, reject) => {
    const leave = () => resolve(otherwise);
    signal.addEventListener('abort', leave, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}
