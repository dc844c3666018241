/**
 * One source file to a bundle: compile it, check what needs no sandbox, let a sandbox tell its manifest, put that on the
 * first line (design 6.1). Owns the order; each step is a file of this folder: compile (compile-problems, import-chain,
 * source-names, source-map, node-stand-in) → bundle-checks → inspect-bundle (inspect-failure).
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, type Manifest, readBundleManifest } from '@flowops/proto/manifest.ts';
import { readCachedManifest, writeCachedManifest } from './build-cache.ts';
import { type BuildOptions, type BuildResult, buildFailure } from './build-result.ts';
import { exportProblem, sizeProblem } from './bundle-checks.ts';
import { type Compiled, type CompileTarget, compile } from './compile.ts';
import { type InspectResult, inspectCode } from './inspect-bundle.ts';
import { inspectFailure } from './inspect-failure.ts';
import { authorsFiles } from './source-names.ts';

export interface SourceBuild {
  readonly result: BuildResult;
  /** Real paths of what went into the bundle. */
  readonly files: readonly string[];
}

/** One build on its way. */
interface Work {
  readonly file: string;
  readonly display: (file: string) => string;
  readonly options: BuildOptions;
}

/** @param file real path of the plugin's source. */
export async function buildSource(file: string, options: BuildOptions): Promise<SourceBuild> {
  const base = options.relativeTo ?? process.cwd();
  const work: Work = { file, display: (name) => path.relative(base, name) || name, options };
  const forNode = (await mayAskForNode(file)) ? await buildForNode(work) : undefined;
  if (forNode?.result.ok === true) return forNode;
  const compiled = await compileFor('isolate', work);
  if (compiled.ok) return withFiles(await finish(compiled, work), compiled);
  if (compiled.importsNode && forNode !== undefined) return forNode;
  return { result: buildFailure('PLUGIN_INVALID', compiled.problems), files: [] };
}

/** Cheap: `runtime` may be the manifest's word or any other, only the manifest itself tells. */
async function mayAskForNode(file: string): Promise<boolean> {
  return /\bruntime\b/.test(await readFile(file, 'utf8'));
}

/** A plugin whose manifest says `runtime: "node"`; undefined when it does not. */
async function buildForNode(work: Work): Promise<SourceBuild | undefined> {
  const draft = await compileFor('node-inspect', work);
  if (!draft.ok) return undefined;
  const inspected = await manifestOf(draft, work);
  if (!inspected.ok) return { result: await inspectFailure(inspected, { ...work, compiled: draft }), files: [] };
  if (inspected.manifest.runtime !== 'node') return undefined;
  const compiled = await compileFor('node', work);
  if (!compiled.ok) return { result: buildFailure('PLUGIN_INVALID', compiled.problems), files: [] };
  const problem = await checkCompiled(compiled, work);
  return withFiles(problem ?? assemble(inspected.manifest, compiled, work), compiled);
}

async function finish(compiled: Compiled, work: Work): Promise<BuildResult> {
  const problem = await checkCompiled(compiled, work);
  if (problem !== undefined) return problem;
  const inspected = await manifestOf(compiled, work);
  if (!inspected.ok) return await inspectFailure(inspected, { ...work, compiled });
  return assemble(inspected.manifest, compiled, work);
}

/** Told by the sandbox; of code that it has told already, from the cache (a touched file, a copy elsewhere). */
async function manifestOf({ code }: Compiled, { options }: Work): Promise<InspectResult> {
  const { cacheDir, sandbox, signal } = options;
  const cached = cacheDir === undefined ? undefined : await readCachedManifest(cacheDir, code);
  if (cached !== undefined) return { ok: true, manifest: cached };
  const inspected = await inspectCode(code, sandbox, signal);
  if (inspected.ok && cacheDir !== undefined) await writeCachedManifest(cacheDir, code, inspected.manifest);
  return inspected;
}

/** What can be wrong before a sandbox has seen it. */
async function checkCompiled(compiled: Compiled, { file, display }: Work): Promise<BuildResult | undefined> {
  const problem = (await exportProblem(compiled, file, display)) ?? sizeProblem(compiled, display(file));
  return problem === undefined ? undefined : buildFailure('PLUGIN_INVALID', [problem]);
}

function assemble(manifest: Manifest, compiled: Compiled, { file, display }: Work): BuildResult {
  const bundle = Buffer.from(formatManifestLine(manifest) + compiled.code);
  const read = readBundleManifest(bundle); // the first line, as every reader of the bundle will see it
  if (!read.ok) return buildFailure('PLUGIN_INVALID', [{ file: display(file), message: read.problem }]);
  return {
    ok: true,
    bundle,
    digest: digestOf(bundle),
    manifest: read.manifest,
    sourceMap: compiled.sourceMap,
    warnings: compiled.warnings,
    sources: authorsFiles([...compiled.files.values()]),
  };
}

function compileFor(target: CompileTarget, { file, display }: Work): ReturnType<typeof compile> {
  return compile({ file, target, display });
}

function withFiles(result: BuildResult, compiled: Compiled): SourceBuild {
  return { result, files: [...compiled.files.values()] };
}
