/**
 * Who brought an import into a plugin: from the thing that cannot be had, through the packages, to the line of the
 * author's file that a person can change. `node:fs ← pg@8.11.3 ← src/query.ts:3`.
 */
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { codeFrame } from '@flowops/proto/code-frame.ts';
import { isJsonObject, type JsonObject, parseJson } from '@flowops/proto/json.ts';
import type { Metafile } from 'esbuild';
import { packageNameAt } from './source-names.ts';

/** Packages that load a file of native code built at install time, and how builds for one machine are called. */
const NATIVE_LOADERS = ['bindings', 'node-gyp-build', 'node-gyp-build-optional-packages', '@mapbox/node-pre-gyp'];
const MACHINE_BUILD = /(?:linux|darwin|win32)-(?:x64|arm64)/;

export interface ImportChainRequest {
  /** Of a build in which what cannot be had was left outside. Its keys are relative to `root`. */
  readonly metafile: Metafile;
  readonly root: string;
  /** Key of the entry. */
  readonly entry: string;
  /** Key of the file that has the import, and the import's place there. */
  readonly importer: string;
  readonly line: number;
  readonly column: number;
  /** What is imported, as a person writes it. */
  readonly target: string;
  /** How the chain names files of the author. */
  readonly display: (file: string) => string;
}

export interface ImportChain {
  /** The links joined by arrows; the last one names the author's own place. */
  readonly text: string;
  /** The lines around that place, when they can be read. */
  readonly framed: { readonly frame?: string };
  /** `better-sqlite3@12.0.0`: a package on the way that brings native code, the one nearest to the author. */
  readonly native: string | undefined;
}

export async function importChain(request: ImportChainRequest): Promise<ImportChain> {
  const links = [request.target];
  let { importer: key, line, column } = request;
  let native: string | undefined;
  for (const parent of [...parentsOf(request), undefined]) {
    const file = path.resolve(request.root, key);
    const owner = await packageOf(file);
    if (owner?.isNative === true) native = owner.name;
    if (owner === undefined || parent === undefined) {
      links.push(`${request.display(file)}:${line}`);
      const frame = codeFrame(await readFile(file, 'utf8').catch(() => ''), { line, column });
      return { text: links.join(' ← '), framed: frame === undefined ? {} : { frame }, native };
    }
    if (links.at(-1) !== owner.name) links.push(owner.name);
    ({ line, column } = await placeOfImport(path.resolve(request.root, parent.key), parent.specifier));
    key = parent.key;
  }
  throw new Error('unreachable: the loop ends with the entry');
}

interface Parent {
  readonly key: string;
  readonly specifier: string;
}

/** From the importer's own importer up to the entry, on the shortest way. */
function parentsOf({ metafile, entry, importer }: ImportChainRequest): Parent[] {
  const parents = new Map<string, Parent>();
  const queue = [entry];
  const seen = new Set(queue);
  for (const key of queue) {
    if (key === importer) break;
    for (const imported of metafile.inputs[key]?.imports ?? []) {
      if (imported.external === true || seen.has(imported.path)) continue;
      seen.add(imported.path);
      parents.set(imported.path, { key, specifier: imported.original ?? imported.path });
      queue.push(imported.path);
    }
  }
  const chain: Parent[] = [];
  for (let parent = parents.get(importer); parent !== undefined; parent = parents.get(parent.key)) chain.push(parent);
  return chain;
}

interface OwningPackage {
  /** `pg@8.11.3` */
  readonly name: string;
  readonly isNative: boolean;
}

/** Undefined for a file that is in no package of a `node_modules`. */
export async function packageOf(file: string): Promise<OwningPackage | undefined> {
  const owner = packageNameAt(file);
  if (owner === undefined) return undefined;
  const parsed = parseJson(await readFile(path.join(owner.directory, 'package.json'), 'utf8').catch(() => ''));
  const manifest = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
  const name = typeof manifest.version === 'string' ? `${owner.name}@${manifest.version}` : owner.name;
  return { name, isNative: isNative(manifest) || (await isFile(path.join(owner.directory, 'binding.gyp'))) };
}

function isNative({ gypfile, dependencies, optionalDependencies }: JsonObject): boolean {
  const needed = isJsonObject(dependencies) ? Object.keys(dependencies) : [];
  const builds = isJsonObject(optionalDependencies) ? Object.keys(optionalDependencies) : [];
  return (
    gypfile === true ||
    needed.some((name) => NATIVE_LOADERS.includes(name)) ||
    builds.some((name) => MACHINE_BUILD.test(name))
  );
}

function isFile(file: string): Promise<boolean> {
  return stat(file).then(
    (status) => status.isFile(),
    () => false,
  );
}

/** The first place that names the specifier in quotes; the file's first line when none does. From 1. */
export async function placeOfImport(file: string, specifier: string): Promise<{ line: number; column: number }> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const quoted = [`'${specifier}'`, `"${specifier}"`, `\`${specifier}\``];
  for (const [index, line] of text.split('\n').entries()) {
    if (!/\b(?:import|export|from|require)\b/.test(line)) continue;
    const column = Math.max(...quoted.map((form) => line.indexOf(form)));
    if (column >= 0) return { line: index + 1, column: column + 1 };
  }
  return { line: 1, column: 1 };
}
