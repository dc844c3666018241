/**
 * One source file and all it imports, to one module of JavaScript, by esbuild. Runs nothing of the author: no config
 * file, no plugin, no install script. The same sources give the same bytes wherever they lie (source-names.ts).
 *
 * Choices:
 * - Not minified: an error's frames and the bundle's code are read by people; what a smaller file would save is some
 *   10 ms of parsing for each MB, once per bundle where the host keeps a code cache.
 * - No keepNames: only the second declaration of a name is renamed, and the helper that it puts around every function
 *   and class would run at the start of each fresh isolate.
 * - The author's tsconfig.json is not read: `experimentalDecorators` or `useDefineForClassFields: false` in it would
 *   change what the SDK's decorators are given.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ownModule } from '@flowops/proto/own-module.ts';
import type { BuildOptions, BuildFailure as EsbuildFailure, Metafile, Plugin } from 'esbuild';
import type { BuildProblem } from './build-result.ts';
import { explainMessages, isUnbundled, outsideProblems, plainProblem } from './compile-problems.ts';
import { nativeWarnings } from './native-packages.ts';
import { nodeStandInPlugin, STAND_IN_BANNER } from './node-stand-in.ts';
import { bundleSourceMap } from './source-map.ts';
import { type PackageRoot, renameSources, stableName } from './source-names.ts';

const SDK = '@flowops/sdk';
/** Our own copy lies here; the files of proto that it imports beside it. */
const SDK_FILE = fileURLToPath(ownModule('../index', import.meta.url));
const OWN_PACKAGES: readonly PackageRoot[] = [
  { name: SDK, directory: path.dirname(SDK_FILE), except: path.join(path.dirname(SDK_FILE), 'examples') },
  {
    name: '@flowops/proto',
    directory: path.join(path.dirname(SDK_FILE), '..', 'proto'),
  },
];

/** CommonJS packages in the bundle call `require` for Node's modules, and ask where they lie; an ES module has neither. */
const NODE_BANNER =
  "import { createRequire as __flowopsCreateRequire } from 'node:module'; globalThis.require ??= __flowopsCreateRequire('/plugin.js'); " +
  "globalThis.__filename ??= '/plugin.js'; globalThis.__dirname ??= '/';";
const BANNERS = { isolate: {}, node: { js: NODE_BANNER }, 'node-inspect': { js: STAND_IN_BANNER } } as const;

/**
 * `isolate`: Node's modules stop the build. `node`: they stay imports (container tier). `node-inspect`: they are stood
 * in for, so that such a plugin can be evaluated for its manifest in an isolate.
 */
export type CompileTarget = 'isolate' | 'node' | 'node-inspect';

export interface CompileRequest {
  /** Real path of the plugin's file. */
  readonly file: string;
  readonly target: CompileTarget;
  /** Names a file for a person. */
  readonly display: (file: string) => string;
}

export interface Compiled {
  readonly ok: true;
  readonly code: string;
  /** For the bundle: the manifest line is counted. */
  readonly sourceMap: string;
  /** Names that the module exports. */
  readonly exports: readonly string[];
  /** Real paths of the files that went in, by their stable names. */
  readonly files: ReadonlyMap<string, string>;
  /** Bytes of the code by stable name. */
  readonly bytesOf: ReadonlyMap<string, number>;
  readonly warnings: readonly BuildProblem[];
}

export type CompileResult =
  | Compiled
  | { readonly ok: false; readonly problems: readonly BuildProblem[]; readonly importsNode: boolean };

export async function compile({ file, target, display }: CompileRequest): Promise<CompileResult> {
  const esbuild = await import('esbuild'); // on demand: an unchanged plugin is taken from the cache without it
  const root = path.dirname(file);
  const entry = path.basename(file);
  const places = { root, display, sdkFile: SDK_FILE };
  const options = esbuildOptions(file, target);
  const result = await esbuild.build(options).catch((thrown: unknown) => {
    if (isEsbuildFailure(thrown)) return thrown;
    throw thrown;
  });
  if (result instanceof Error) {
    const graph = async (): Promise<Metafile | undefined> => {
      const plugins = [...options.plugins, leaveOutsidePlugin()];
      return (await esbuild.build({ ...options, plugins }).catch(() => undefined))?.metafile;
    };
    return { ok: false, ...(await explainMessages({ ...places, messages: result.errors, entry, graph })) };
  }
  const outside = await outsideProblems({ ...places, metafile: result.metafile, entry });
  if (outside.length > 0) return { ok: false, problems: outside, importsNode: false };
  const names = new Map<string, string>();
  const files = new Map<string, string>();
  const bytesOf = new Map<string, number>();
  const output = result.metafile.outputs['plugin.js'];
  const codeFile = result.outputFiles.find((output) => output.path.endsWith('.js'));
  const mapFile = result.outputFiles.find((output) => output.path.endsWith('.js.map'));
  if (output === undefined || codeFile === undefined || mapFile === undefined) throw new Error('esbuild gave no code');
  for (const key of Object.keys(result.metafile.inputs)) {
    if (isVirtual(key)) continue;
    const input = path.resolve(root, key);
    const name = stableName(input, root, OWN_PACKAGES);
    names.set(key, name);
    files.set(name, input);
    bytesOf.set(name, output.inputs[key]?.bytesInOutput ?? 0);
  }
  const told = await Promise.all(result.warnings.map((message) => plainProblem(message, places)));
  const native = target === 'node' ? await nativeWarnings({ ...places, metafile: result.metafile, entry }) : [];
  return {
    ok: true,
    code: renameSources(codeFile.text, names),
    sourceMap: bundleSourceMap(mapFile.text, names),
    exports: output.exports,
    files,
    bytesOf,
    warnings: [...told, ...native],
  };
}

function esbuildOptions(file: string, target: CompileTarget) {
  return {
    absWorkingDir: path.dirname(file),
    entryPoints: [file],
    outfile: 'plugin.js',
    write: false,
    bundle: true,
    metafile: true,
    format: 'esm',
    platform: target === 'isolate' ? 'browser' : 'node',
    target: 'es2022',
    sourcemap: 'external',
    sourcesContent: false,
    legalComments: 'inline', // at the end they would name files of this machine
    charset: 'utf8',
    logLevel: 'silent',
    define: { 'process.env.NODE_ENV': '"production"' },
    banner: BANNERS[target],
    tsconfigRaw: { compilerOptions: { experimentalDecorators: false, useDefineForClassFields: true } },
    plugins: [sdkPlugin(), ...(target === 'node-inspect' ? [nodeStandInPlugin()] : [])],
  } as const satisfies BuildOptions;
}

/** `@flowops/sdk` is the author's own copy where there is one, else ours. */
function sdkPlugin(): Plugin {
  return {
    name: 'flowops-sdk',
    setup(build) {
      build.onResolve({ filter: /^@flowops\/sdk$/ }, async (args) => {
        if (args.pluginData === SDK) return undefined;
        const { importer, resolveDir, kind } = args;
        const own = await build.resolve(args.path, { importer, resolveDir, kind, pluginData: SDK });
        return own.errors.length === 0 ? own : { path: SDK_FILE };
      });
    },
  };
}

/** Leaves outside what cannot be bundled, so that a build gives the graph of imports up to there. */
function leaveOutsidePlugin(): Plugin {
  const name = 'leave-outside';
  return {
    name,
    setup(build) {
      build.onResolve({ filter: /.*/ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
        if (kind === 'entry-point' || pluginData !== undefined) return undefined;
        if (isUnbundled(path)) return { path, external: true };
        const resolved = await build.resolve(path, { kind, importer, resolveDir, pluginData: name });
        return resolved.errors.length === 0 ? resolved : { path, external: true };
      });
    },
  };
}

/** Not a file: `(disabled):fs`, or a module of a plugin of ours (`namespace:path`). */
function isVirtual(key: string): boolean {
  return /^(\([a-z]+\)|[a-z-]{2,}):/.test(key);
}

function isEsbuildFailure(thrown: unknown): thrown is EsbuildFailure {
  return thrown instanceof Error && 'errors' in thrown && Array.isArray(thrown.errors);
}
