/**
 * A plugin as a file on this machine, source or built, turned into bytes that can run: what `--plugins DIR`, `sandbox
 * run PLUGIN` and `plugin inspect` need. A source is built (or taken from the cache of builds), a bundle is read as it
 * is. Nothing of the plugin runs in this process.
 */
import { readFile, stat } from 'node:fs/promises';
import { MAX_SIGNATURE_TEXT_BYTES } from '@flowops/proto/bundle-signature.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES, readBundleManifest } from '@flowops/proto/manifest.ts';
import { buildPlugin } from './build-plugin.ts';
import { type BuildResult, buildFailure, type OpenSandbox } from './build-result.ts';
import { findPluginEntry } from './plugin-entry.ts';

export interface LoadPluginOptions {
  /** Where builds are kept: `<FLOWOPS_HOME>/cache`. Made when it is missing. */
  readonly cacheDir: string;
  /** Called only when a source was never built before, or changed. */
  readonly sandbox: OpenSandbox;
  readonly signal?: AbortSignal;
}

/** Source map of a bundle on disk: read only to show errors, so a larger one is left alone. */
export const MAX_SOURCE_MAP_BYTES = 64 * 1024 * 1024;

/**
 * Bundle and manifest of a `.ts` or `.js` source, a folder with one, or a built bundle. A source that did not change
 * since its last build costs a few ms and loads no bundler. Never throws for what is wrong with the plugin.
 */
export async function loadPluginFile(path: string, options: LoadPluginOptions): Promise<BuildResult> {
  const entry = await findPluginEntry(path);
  if (!entry.ok) return entry;
  if (entry.isBundle) return await readBundleFile(entry.file);
  return await buildPlugin(entry.file, options);
}

async function readBundleFile(file: string): Promise<BuildResult> {
  const { size } = await stat(file);
  if (size > MAX_BUNDLE_BYTES) {
    return buildFailure('PLUGIN_INVALID', [
      { file, message: `the bundle has ${size} bytes; at most ${MAX_BUNDLE_BYTES} are allowed` },
    ]);
  }
  const bundle = await readFile(file);
  const read = readBundleManifest(bundle);
  if (!read.ok) return buildFailure('PLUGIN_INVALID', [{ file, message: read.problem }]);
  const sourceMap = await readCompanion(`${file}.map`, MAX_SOURCE_MAP_BYTES);
  const signature = await readCompanion(`${file}.sig`, MAX_SIGNATURE_TEXT_BYTES);
  return {
    ok: true,
    bundle,
    digest: digestOf(bundle),
    manifest: read.manifest,
    sourceMap,
    warnings: [],
    sources: [file],
    ...(signature === '' ? {} : { signature }),
  };
}

/** Empty when there is none: a bundle is complete without it. */
async function readCompanion(file: string, maxBytes: number): Promise<string> {
  try {
    if ((await stat(file)).size > maxBytes) return '';
    return await readFile(file, 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return '';
    throw new Error(`${file} cannot be read: ${messageOf(thrown)}`, { cause: thrown });
  }
}
