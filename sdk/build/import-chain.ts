/**
 * Who brought an import into a plugin: from the thing that cannot be had, through the packages, to the line of the
 * author's file that a person can change. `node:fs ← pg@8.11.3 ← src/query.ts:3`.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isJsonObject, parseJson } from '@flowops/proto/json.ts';
import type { Metafile } from 'esbuild';
import { packageNameAt } from './source-names.ts';

export interface ImportChainRequest {
  /** Of a build in which what cannot be had was left outside. Its keys are relative to `root`. */
  readonly metafile: Metafile;
  readonly root: string;
  /** Key of the entry. */
  readonly entry: string;
  /** Key of the file that has the import, and the import's line there. */
  readonly importer: string;
  readonly line: number;
  /** What is imported, as a person writes it. */
  readonly target: string;
  /** How the chain names files of the author. */
  readonly display: (file: string) => string;
}

/** The links joined by arrows; the last one names the author's own place. */
export async function importChain(request: ImportChainRequest): Promise<string> {
  const links = [request.target];
  let key = request.importer;
  let line = request.line;
  for (const parent of [...parentsOf(request), undefined]) {
    const file = path.resolve(request.root, key);
    const owner = await packageOf(file);
    if (owner === undefined || parent === undefined) {
      links.push(`${request.display(file)}:${line}`);
      return links.join(' ← ');
    }
    if (links.at(-1) !== owner) links.push(owner);
    line = await lineOfImport(path.resolve(request.root, parent.key), parent.specifier);
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

/** `pg@8.11.3`, or undefined for a file that is in no package of a `node_modules`. */
async function packageOf(file: string): Promise<string | undefined> {
  const owner = packageNameAt(file);
  if (owner === undefined) return undefined;
  const manifest = path.join(owner.directory, 'package.json');
  const parsed = parseJson(await readFile(manifest, 'utf8').catch(() => ''));
  const version = parsed.ok && isJsonObject(parsed.value) ? parsed.value.version : undefined;
  return typeof version === 'string' ? `${owner.name}@${version}` : owner.name;
}

/** The first line that names the specifier in quotes; 1 when none does. */
export async function lineOfImport(file: string, specifier: string): Promise<number> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const lines = text.split('\n');
  const quoted = [`'${specifier}'`, `"${specifier}"`, `\`${specifier}\``];
  const found = lines.findIndex(
    (line) => /\b(?:import|export|from|require)\b/.test(line) && quoted.some((form) => line.includes(form)),
  );
  return Math.max(0, found) + 1;
}
