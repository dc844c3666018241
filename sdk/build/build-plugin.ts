/**
 * From a plugin's source to its bundle: find the file, compile it, let a sandbox tell its manifest, put that on the first
 * line (design 6.1). Owns the order and the checks between; each step is a file of this folder:
 * plugin-entry → build-cache (resolution-inputs) → compile (compile-problems, import-chain, source-names, source-map) →
 * bundle-checks → inspect-bundle (inspect-failure).
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, type Manifest, readBundleManifest } from '@flowops/proto/manifest.ts';
import { readCachedBuild, writeCachedBuild } from './build-cache.ts';
import { type BuildResult, buildFailure, type OpenSandbox } from './build-result.ts';
import { exportProblem, sizeProblem } from './bundle-checks.ts';
import { type Compiled, compile } from './compile.ts';
import { inspectCode } from './inspect-bundle.ts';
import { inspectFailure } from './inspect-failure.ts';
import { findPluginEntry } from './plugin-entry.ts';
import { buildInputs } from './resolution-inputs.ts';

export interface BuildOptions {
  /** Where the manifest is read; called only when the source was not built before. */
  readonly sandbox: OpenSandbox;
  /** `<FLOWOPS_HOME>/cache`; without it nothing is kept. */
  readonly cacheDir?: string;
  readonly signal?: AbortSignal;
  /** Places in messages are relative to it. Default: the working directory. */
  readonly relativeTo?: string;
}

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
  const built = await buildFile(entry.file, options);
  if (!built.result.ok || cacheDir === undefined) return built.result;
  const inputs = await buildInputs(entry.file, built.files);
  await writeCachedBuild(cacheDir, entry.file, built.result, { ...inputs, startedMs });
  return built.result;
}

interface FileBuild {
  readonly result: BuildResult;
  /** Real paths of what went into the bundle. */
  readonly files: readonly string[];
}

async function buildFile(file: string, options: BuildOptions): Promise<FileBuild> {
  const base = options.relativeTo ?? process.cwd();
  const display = (name: string): string => path.relative(base, name) || name;
  const compiled = await compile({ file, target: 'isolate', display });
  if (compiled.ok)
    return { result: await finish(compiled, file, display, options), files: [...compiled.files.values()] };
  const failure: FileBuild = { result: buildFailure('PLUGIN_INVALID', compiled.problems), files: [] };
  if (!compiled.importsNode || !(await mayAskForNode(file))) return failure;
  return (await buildForNode(file, display, options)) ?? failure;
}

/** A plugin whose manifest says `runtime: "node"`; undefined when it does not. */
async function buildForNode(
  file: string,
  display: (file: string) => string,
  options: BuildOptions,
): Promise<FileBuild | undefined> {
  const draft = await compile({ file, target: 'node-inspect', display });
  if (!draft.ok) return undefined;
  const inspected = await inspectCode(draft.code, options.sandbox, options.signal);
  if (!inspected.ok) return { result: await inspectFailure(inspected, { compiled: draft, file, display }), files: [] };
  if (inspected.manifest.runtime !== 'node') return undefined;
  const compiled = await compile({ file, target: 'node', display });
  if (!compiled.ok) return { result: buildFailure('PLUGIN_INVALID', compiled.problems), files: [] };
  return { result: assemble(inspected.manifest, compiled, display(file)), files: [...compiled.files.values()] };
}

/** Cheap: `runtime` may be the manifest's word or any other, only the manifest itself tells. */
async function mayAskForNode(file: string): Promise<boolean> {
  return /\bruntime\b/.test(await readFile(file, 'utf8'));
}

/** The checks that need no sandbox, then the manifest. */
async function finish(
  compiled: Compiled,
  file: string,
  display: (file: string) => string,
  options: BuildOptions,
): Promise<BuildResult> {
  const problem = (await exportProblem(compiled, file, display)) ?? sizeProblem(compiled, display(file));
  if (problem !== undefined) return buildFailure('PLUGIN_INVALID', [problem]);
  const inspected = await inspectCode(compiled.code, options.sandbox, options.signal);
  if (!inspected.ok) return await inspectFailure(inspected, { compiled, file, display });
  return assemble(inspected.manifest, compiled, display(file));
}

function assemble(manifest: Manifest, compiled: Compiled, file: string): BuildResult {
  const bundle = Buffer.from(formatManifestLine(manifest) + compiled.code);
  const read = readBundleManifest(bundle); // the first line, as every reader of the bundle will see it
  if (!read.ok) return buildFailure('PLUGIN_INVALID', [{ file, message: read.problem }]);
  return {
    ok: true,
    bundle,
    digest: digestOf(bundle),
    manifest: read.manifest,
    sourceMap: compiled.sourceMap,
    warnings: compiled.warnings,
  };
}
