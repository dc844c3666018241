/**
 * TypeScript of ours to the JavaScript of a package: one file for each, at the same place, so that whatever lies beside
 * a module is found where it looked. Only what the entries reach by imports, static and dynamic. Imports of our own
 * packages become relative ones; imports of others stay, and are told: they are what the package depends on.
 */
import { readFileSync } from 'node:fs';
import { dirname, extname, join, relative, sep } from 'node:path';
import { ONE_LANGUAGE } from '@flowops/sandbox/bundling/one-language.ts';
import { build, type Plugin } from 'esbuild';
import { z } from 'zod';
import { ROOT } from '../node24.mjs';

export interface TranspileRequest {
  /** From the root of the clone. */
  readonly entries: readonly string[];
  /** Imports of files below these folders stay as they are: what only a clone has. */
  readonly leaveOut?: readonly string[];
  /** Packages of others that are in the package itself: name → path from its root. */
  readonly vendored?: Readonly<Record<string, string>>;
  /** The oldest Node that reads it, as esbuild names it. Default: that of the engine. */
  readonly target?: string;
}

export interface Transpiled {
  /** JavaScript by its path from the root of the package. */
  readonly files: ReadonlyMap<string, string>;
  /** Names of the packages of others that are imported. */
  readonly packages: ReadonlySet<string>;
}

/** What decides how a module of ours is called in the package. */
const EXTENSIONS: Readonly<Record<string, string>> = { '.ts': '.js', '.js': '.js', '.mjs': '.mjs' };
export const OWN_PARTS = ['proto', 'sdk', 'sandbox', 'engine'];
const OWN_PACKAGE = new RegExp(`^@flowops/(${OWN_PARTS.join('|')})(/.*)?$`);
/** Older Nodes read them, to say that they are too old. */
const OLDER_TARGETS: Readonly<Record<string, string>> = { '.mjs': 'node18' };
const TARGET = 'node24';

export async function transpile({
  entries,
  leaveOut = [],
  vendored = {},
  target = TARGET,
}: TranspileRequest): Promise<Transpiled> {
  const files = new Map<string, string>();
  const packages = new Set<string>();
  const seen = new Set<string>();
  let waiting = [...entries];
  while (waiting.length > 0) {
    for (const file of waiting) seen.add(file);
    const reached = new Set<string>();
    const follow = followImports({
      leaveOut,
      vendored,
      onOwn: (file) => reached.add(file),
      onPackage: (name) => packages.add(name),
    });
    const built = await Promise.all(
      groupByExtension(waiting).map((group) => transpileAll(group, { plugin: follow, target })),
    );
    for (const [path, text] of built.flatMap((texts) => [...texts])) files.set(path, text);
    waiting = [...reached].filter((file) => !seen.has(file));
  }
  return { files, packages };
}

/** The path in the package of a source file. */
export function packedPath(file: string): string {
  const extension = extname(file);
  return `${file.slice(0, -extension.length)}${EXTENSIONS[extension] ?? extension}`;
}

async function transpileAll(
  files: readonly string[],
  { plugin, target }: { plugin: Plugin; target: string },
): Promise<Map<string, string>> {
  const extension = extname(files[0] ?? '');
  const result = await build({
    absWorkingDir: ROOT,
    entryPoints: files.map((file) => ({ in: file, out: file.slice(0, -extension.length) })),
    outdir: '.',
    outExtension: { '.js': EXTENSIONS[extension] ?? extension },
    write: false,
    // Every import is left outside: what is bundled is one module.
    bundle: true,
    treeShaking: false,
    format: 'esm',
    platform: 'node',
    target: OLDER_TARGETS[extension] ?? target,
    charset: 'utf8',
    logLevel: 'silent',
    plugins: [plugin],
  });
  return new Map(result.outputFiles.map(({ path, text }) => [slashed(relative(ROOT, path)), text]));
}

interface Followed {
  readonly leaveOut: readonly string[];
  readonly vendored: Readonly<Record<string, string>>;
  readonly onOwn: (file: string) => void;
  readonly onPackage: (name: string) => void;
}

function followImports({ leaveOut, vendored, onOwn, onPackage }: Followed): Plugin {
  return {
    name: 'follow-imports',
    setup({ onResolve }) {
      onResolve({ filter: /.*/ }, ({ path: specifier, kind, importer, resolveDir }) => {
        if (kind === 'entry-point') return undefined;
        const own = ownFile(specifier, resolveDir);
        const path = own === undefined ? vendored[specifier] : packedPath(own);
        if (own !== undefined && !leaveOut.some((folder) => own.startsWith(folder))) onOwn(own);
        if (path !== undefined) return { path: relativeImport(relative(ROOT, importer), path), external: true };
        if (!specifier.startsWith('node:')) onPackage(packageName(specifier));
        return { path: specifier, external: true };
      });
    },
  };
}

/** How a file imports another; both from the same root. */
export function relativeImport(from: string, to: string): string {
  const path = slashed(relative(dirname(from), to));
  return path.startsWith('.') ? path : `./${path}`;
}

/** From the root of the clone; undefined for a module of somebody else. */
export function ownFile(specifier: string, folder: string): string | undefined {
  if (specifier.startsWith('.')) return slashed(relative(ROOT, join(folder, specifier)));
  const [, part, rest] = OWN_PACKAGE.exec(specifier) ?? [];
  if (part === undefined) return undefined;
  return rest === undefined ? `${part}/index.ts` : `${part}${rest}`;
}

export function packageName(specifier: string): string {
  return z.string().parse(/^(@[^/]+\/[^/]+|[^/]+)/.exec(specifier)?.[0]);
}

/** One module with all of a package of others in it, and its licence. */
export async function vendor(name: string): Promise<{ readonly code: string; readonly license: string }> {
  const result = await build({
    stdin: { contents: `export * from ${JSON.stringify(name)};`, resolveDir: ROOT },
    write: false,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: TARGET,
    minify: true,
    legalComments: 'none',
    logLevel: 'silent',
    plugins: [ONE_LANGUAGE],
  });
  const license = readFileSync(join(ROOT, 'node_modules', name, 'LICENSE'), 'utf8');
  return { code: result.outputFiles[0]?.text ?? '', license };
}

function groupByExtension(files: readonly string[]): string[][] {
  return [...Map.groupBy(files, (file) => extname(file)).values()];
}

function slashed(path: string): string {
  return path.replaceAll(sep, '/');
}
