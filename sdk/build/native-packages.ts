/**
 * Packages with native code in a plugin for Node: they build, and fail when they look for a file that no bundle holds.
 * A warning, not a refusal: some have a slower way in JavaScript.
 */
import path from 'node:path';
import type { Metafile } from 'esbuild';
import type { BuildProblem } from './build-result.ts';
import { importChain, packageOf } from './import-chain.ts';

const ADVICE =
  'is native code, which is not in the bundle: the plugin works only where the package can do without. Use another package otherwise.';

export interface NativeRequest {
  readonly metafile: Metafile;
  readonly root: string;
  /** Key of the entry. */
  readonly entry: string;
  readonly display: (file: string) => string;
}

export async function nativeWarnings(request: NativeRequest): Promise<BuildProblem[]> {
  const warnings = new Map<string, BuildProblem>();
  for (const importer of Object.keys(request.metafile.inputs)) {
    const owner = await packageOf(path.resolve(request.root, importer));
    if (owner?.isNative !== true || warnings.has(owner.name)) continue;
    const { text, framed } = await importChain({ ...request, importer, line: 1, column: 1, target: owner.name });
    warnings.set(owner.name, { message: `${text}. ${owner.name} ${ADVICE}`, ...framed });
  }
  return [...warnings.values()];
}
