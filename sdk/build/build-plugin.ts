/**
 * From a plugin's source to its bundle: find the file, take an unchanged one from the cache, else build it. Loads the
 * bundler only for the last; `flowops run` on a folder of unchanged sources starts without it. The folder reads:
 * plugin-entry → build-cache (resolution-inputs) → build-source (compile, bundle-checks, inspect-bundle).
 */
import { readCachedBuild, writeCachedBuild } from './build-cache.ts';
import { type BuildOptions, type BuildResult, buildFailure } from './build-result.ts';
import { findPluginEntry } from './plugin-entry.ts';

/** Builds a `.ts` or `.js` file, or a folder with one. Never throws for what is wrong with the plugin. */
export async function buildPlugin(source: string, options: BuildOptions): Promise<BuildResult> {
  const entry = await findPluginEntry(source);
  if (!entry.ok) return entry;
  if (entry.isBundle) {
    return buildFailure('PLUGIN_INVALID', [
      { message: `${source} is a built bundle already; name the plugin's source` },
    ]);
  }
  const { cacheDir } = options;
  const cached = cacheDir === undefined ? undefined : await readCachedBuild(cacheDir, entry.file);
  if (cached !== undefined) return cached;
  const startedMs = Date.now();
  const { buildSource } = await import('./build-source.ts');
  const built = await buildSource(entry.file, options);
  if (!built.result.ok || cacheDir === undefined) return built.result;
  const { buildInputs } = await import('./resolution-inputs.ts');
  const inputs = await buildInputs(entry.file, built.files);
  await writeCachedBuild(cacheDir, entry.file, built.result, { ...inputs, startedMs });
  return built.result;
}
