/**
 * The names that source files have inside a bundle and its source map. esbuild names a file by its path from the
 * working folder, so the same source would give other bytes (and another digest) on every machine, and the paths would
 * tell about that machine. Here a file of the author is named from the folder of the plugin's entry (`query.ts`,
 * `../lib/x.ts`), a file of a package from its last `node_modules` (`node_modules/pg/lib/index.js`), a file of our SDK
 * as `node_modules/@flowops/sdk/index.ts` wherever it was found.
 */
import path from 'node:path';
import { PACKAGE_PREFIX } from '@flowops/proto/source-map.ts';

/** Names given by esbuild (its metafile's keys) to names that are the same everywhere. */
export type SourceNames = ReadonlyMap<string, string>;

export interface PackageRoot {
  readonly name: string;
  readonly directory: string;
  /** A folder in it whose files are authors' all the same. */
  readonly except?: string;
}

/** Name and folder of the package in a `node_modules` that a file belongs to; undefined for a file of the author. */
export function packageNameAt(file: string): PackageRoot | undefined {
  const slashedFile = slashed(file);
  const at = slashedFile.lastIndexOf(`/${PACKAGE_PREFIX}`);
  if (at < 0) return undefined;
  const parts = slashedFile.slice(at + 1 + PACKAGE_PREFIX.length).split('/');
  const name = parts.slice(0, parts[0]?.startsWith('@') === true ? 2 : 1).join('/');
  return { name, directory: path.join(slashedFile.slice(0, at), PACKAGE_PREFIX, name) };
}

/** Those of the files that are in no `node_modules`. */
export function authorsFiles(files: readonly string[]): string[] {
  return files.filter((file) => packageNameAt(file) === undefined);
}

/** @param ownPackages packages that lie outside any `node_modules`: our SDK and what it imports. */
export function stableName(file: string, entryFolder: string, ownPackages: readonly PackageRoot[]): string {
  for (const { name, directory, except } of ownPackages) {
    if (isBelow(file, directory) && (except === undefined || !isBelow(file, except))) {
      return `${PACKAGE_PREFIX}${name}/${slashed(path.relative(directory, file))}`;
    }
  }
  const slashedFile = slashed(file);
  const at = slashedFile.lastIndexOf(`/${PACKAGE_PREFIX}`);
  return at < 0 ? slashed(path.relative(entryFolder, file)) : slashedFile.slice(at + 1);
}

/**
 * Puts the stable names into esbuild's output. They stand in two kinds of lines only, which esbuild writes itself:
 * `// name` before a module, and `"name"(exports, module) {` as the key of a wrapped one.
 */
export function renameSources(code: string, names: SourceNames): string {
  return code.replace(/^(\/\/ | {2}")(.+?)((?:"\((?:exports(?:, module)?)?\) \{)?)$/gm, (line, head, name, tail) => {
    const stable = names.get(name);
    return stable === undefined || (head === '// ') !== (tail === '') ? line : `${head}${stable}${tail}`;
  });
}

function isBelow(file: string, folder: string): boolean {
  return file.startsWith(folder + path.sep);
}

function slashed(file: string): string {
  return path.sep === '/' ? file : file.replaceAll(path.sep, '/');
}
