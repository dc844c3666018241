/**
 * What lies in a folder of plugins: which files and subfolders can be one, and which plugin names their text mentions.
 * Builds nothing. The names are a hint only, so that a flow that names one plugin of a hundred builds one; whoever
 * finds nothing by the hint has to look at all.
 */
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BUNDLE_LINE_PREFIX, MAX_BUNDLE_BYTES, MAX_MANIFEST_BYTES } from '@flowops/proto/manifest.ts';
import { findPluginEntry, isPluginFileName } from '../build/plugin-entry.ts';

/** Subfolders that are no plugins though they hold JavaScript. */
const IGNORED_FOLDERS = new Set(['node_modules', 'dist', 'build', 'coverage', 'test', 'tests', '__tests__', 'schemas']);
/** A folder of plugins is made by a person; more than this is some other folder. */
const MAX_ENTRIES = 2_000;
const QUOTED_NAME = /(['"`])([a-z0-9][a-z0-9._-]{0,127})\1/g;

export interface SourceEntry {
  /** As the person sees it, below the folder. */
  readonly name: string;
  /** The file itself; for a folder, the one file in it that is the plugin. */
  readonly file: string;
  readonly isBundle: boolean;
  /** Changes when the file does. */
  readonly stamp: string;
  readonly mentions: ReadonlySet<string>;
}

/** A subfolder in which no plugin, or more than one, was found. */
export interface UnclearEntry {
  readonly name: string;
  readonly problem: string;
}

export interface FolderContents {
  readonly entries: readonly SourceEntry[];
  readonly unclear: readonly UnclearEntry[];
}

/** @param known entries of an earlier look: their text is read again only when the file changed. */
export async function readFolder(dir: string, known: ReadonlyMap<string, SourceEntry>): Promise<FolderContents> {
  const entries: SourceEntry[] = [];
  const unclear: UnclearEntry[] = [];
  const found = (await readdir(dir)).filter((name) => !name.startsWith('.') && !IGNORED_FOLDERS.has(name)).sort();
  if (found.length > MAX_ENTRIES) {
    return {
      entries,
      unclear: [{ name: dir, problem: `holds ${found.length} entries; at most ${MAX_ENTRIES} are looked at` }],
    };
  }
  for (const name of found) {
    const path = join(dir, name);
    const status = await stat(path).catch(() => undefined);
    if (status === undefined || (status.isFile() && !isPluginFileName(name))) continue;
    if (!status.isFile() && !(status.isDirectory() && (await holdsSources(path)))) continue;
    const entry = await findPluginEntry(path);
    if (!entry.ok) unclear.push({ name, problem: entry.message });
    else {
      const described = await describeFile(name, entry.file, entry.isBundle, known.get(name));
      if (described !== undefined) entries.push(described);
    }
  }
  return { entries, unclear };
}

/** The entry as it is now; undefined when it has gone. */
export async function refreshEntry(entry: SourceEntry): Promise<SourceEntry | undefined> {
  return await describeFile(entry.name, entry.file, entry.isBundle, entry);
}

async function describeFile(
  name: string,
  file: string,
  isBundle: boolean,
  known: SourceEntry | undefined,
): Promise<SourceEntry | undefined> {
  const status = await stat(file).catch(() => undefined);
  if (status === undefined) return undefined;
  const stamp = `${status.ino}:${status.size}:${status.mtimeMs}:${status.ctimeMs}`;
  if (known?.file === file && known.stamp === stamp) return known;
  if (status.size > MAX_BUNDLE_BYTES) return { name, file, isBundle, stamp, mentions: new Set() };
  const text = isBundle ? await readManifestLine(file) : await readFile(file, 'utf8').catch(() => '');
  const mentions = new Set([...text.matchAll(QUOTED_NAME)].map((match) => match[2] ?? ''));
  return { name, file, isBundle: text.startsWith(BUNDLE_LINE_PREFIX), stamp, mentions };
}

async function holdsSources(dir: string): Promise<boolean> {
  const names = await readdir(dir).catch(() => []);
  return names.some((name) => isPluginFileName(name) || name === 'package.json');
}

/** The first line only: the code of a bundle quotes many words. */
async function readManifestLine(file: string): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const head = Buffer.alloc(MAX_MANIFEST_BYTES);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    return head.subarray(0, bytesRead).toString('utf8').split('\n', 1)[0] ?? '';
  } finally {
    await handle.close();
  }
}
