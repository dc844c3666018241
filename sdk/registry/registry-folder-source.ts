/**
 * A registry folder as a source of plugins in this process, without gRPC. The rules of latest, withdrawn and exact
 * versions are registry-folder.ts'.
 */
import type { ContentStore } from '@flowops/proto/content-store.ts';
import { isDigest } from '@flowops/proto/ids.ts';
import type { BundleResult, PluginSource, ResolveResult } from '@flowops/proto/plugin-source.ts';
import { pluginVersionProblem } from '@flowops/proto/plugin-version.ts';
import { KeptBundles } from './kept-bundles.ts';
import type { PluginVersion, RegistryFolder } from './registry-folder.ts';

export interface RegistryFolderSourceOptions {
  readonly dir: string;
  readonly folder: RegistryFolder;
  readonly store: ContentStore;
}

export class RegistryFolderSource implements PluginSource {
  readonly #dir: string;
  readonly #folder: RegistryFolder;
  readonly #kept: KeptBundles;

  constructor(options: RegistryFolderSourceOptions) {
    this.#dir = options.dir;
    this.#folder = options.folder;
    this.#kept = new KeptBundles(options.store);
  }

  async resolve(pluginId: string, version: string | undefined, _signal: AbortSignal): Promise<ResolveResult> {
    const problem = version === undefined ? undefined : pluginVersionProblem(version);
    if (problem !== undefined) return { ok: false, code: 'PLUGIN_NOT_FOUND', message: `the version ${problem}` };
    if (version !== undefined && isDigest(version)) return await this.#resolveDigest(pluginId, version);
    const found = await this.#folder.find(pluginId, version ?? '');
    if (found.kind === 'found') return await this.#resolved(pluginId, found.version);
    const code = found.kind === 'broken' ? 'PLUGIN_INVALID' : 'PLUGIN_NOT_FOUND';
    return { ok: false, code, message: `${found.message} (in ${this.#dir})` };
  }

  async bundle(
    plugin: { pluginId: string; version: string; digest: string },
    _signal: AbortSignal,
  ): Promise<BundleResult> {
    const kept = await this.#kept.read(plugin.digest);
    if (kept !== undefined) return { ok: true, bundle: kept };
    const resolved = await this.#resolveDigest(plugin.pluginId, plugin.digest);
    if (!resolved.ok) return resolved;
    const found = await this.#kept.read(plugin.digest);
    if (found !== undefined) return { ok: true, bundle: found };
    return { ok: false, code: 'PLUGIN_NOT_FOUND', message: `${plugin.digest} cannot be read in ${this.#dir}` };
  }

  /** Of the folder while it has these bytes, so that a new `.js.sig` counts at once; else as it was kept. */
  async signature(plugin: { pluginId: string; version: string; digest: string }): Promise<string | undefined> {
    const { pluginId, version, digest } = plugin;
    return (await this.#folder.signatureOf(pluginId, version, digest)) ?? (await this.#kept.signatureOf(digest));
  }

  async sourceMap(digest: string): Promise<string | undefined> {
    return (await this.#kept.read(digest))?.sourceMap;
  }

  async names(_signal: AbortSignal): Promise<readonly string[]> {
    return await this.#folder.pluginIds();
  }

  async close(): Promise<void> {}

  async #resolveDigest(pluginId: string, digest: string): Promise<ResolveResult> {
    // What was kept is not asked: it does not say under which pluginId it was published.
    const version = (await this.#folder.versions(pluginId)).find((one) => one.digest === digest);
    if (version !== undefined) return await this.#resolved(pluginId, version);
    return {
      ok: false,
      code: 'PLUGIN_NOT_FOUND',
      message: `no version of ${JSON.stringify(pluginId.slice(0, 128))} in ${this.#dir} has ${digest}`,
    };
  }

  /** Keeps the bytes before the digest is given out. */
  async #resolved(pluginId: string, version: PluginVersion): Promise<ResolveResult> {
    const { digest, manifest } = version;
    if (await this.#kept.has(digest)) return { ok: true, plugin: { pluginId, digest, manifest } };
    const read = await this.#folder.read(pluginId, version.version);
    if (read.kind !== 'read') return { ok: false, code: 'PLUGIN_INVALID', message: read.message };
    const { bytes, signature, sourceMap } = read.files;
    await this.#kept.keep({
      digest: read.files.version.digest,
      bytes,
      ...(signature === undefined ? {} : { signature }),
      ...(sourceMap === undefined ? {} : { sourceMap }),
    });
    return {
      ok: true,
      plugin: { pluginId, digest: read.files.version.digest, manifest: read.files.version.manifest },
    };
  }
}
