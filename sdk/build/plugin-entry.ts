/**
 * Which file a person means by PLUGIN or SRC (design 3.6): a `.ts` or `.js` file, or a folder with one. Reads names and
 * package.json only; whether a file is a built bundle is told by its first line.
 */
import { lstat, open, readdir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { isJsonObject, parseJson } from '@flowops/proto/json.ts';
import { BUNDLE_LINE_PREFIX } from '@flowops/proto/manifest.ts';
import { type BuildFailure, buildFailure } from './build-result.ts';

const SOURCE_NAME = /\.[cm]?[jt]s$/;
const NO_PLUGIN_NAME = /(\.(test|spec|config)\.[cm]?[jt]s|\.d\.[cm]?ts)$/;
const INDEX_NAMES = ['index.ts', 'index.mts', 'index.js', 'index.mjs'];

export interface PluginEntry {
  readonly ok: true;
  /** Real path of the one file that is the plugin. */
  readonly file: string;
  /** The file is a bundle already: nothing is to be built. */
  readonly isBundle: boolean;
}

/** Whether a file of a folder of plugins can be one, by its name: `*.test.*`, `*.config.*` and `*.d.ts` are not. */
export function isPluginFileName(name: string): boolean {
  return SOURCE_NAME.test(name) && !NO_PLUGIN_NAME.test(name) && !name.startsWith('.');
}

/** Finds the plugin's file in a file's or folder's path. Never throws for what is on the disk. */
export async function findPluginEntry(source: string): Promise<PluginEntry | BuildFailure> {
  const status = await stat(source).catch(() => undefined);
  if (status === undefined) return notFound(`${source}: there is no such file or folder`);
  if (status.isDirectory()) return await entryOfFolder(source);
  if (!status.isFile()) return notFound(`${source} is neither a file nor a folder`);
  if (!SOURCE_NAME.test(source)) {
    return notFound(`${source}: a plugin is a .ts or .js file, or a folder with one`);
  }
  if (NO_PLUGIN_NAME.test(source)) {
    return notFound(`${source} is a test, a configuration or a declaration file, so no plugin`);
  }
  return await entryOfFile(source);
}

async function entryOfFile(source: string): Promise<PluginEntry> {
  const file = await realpath(source);
  return { ok: true, file, isBundle: await beginsLikeBundle(file) };
}

async function entryOfFolder(folder: string): Promise<PluginEntry | BuildFailure> {
  const main = await mainOfPackage(folder);
  if (main !== undefined) {
    const file = path.resolve(folder, main);
    const status = await stat(file).catch(() => undefined);
    if (status?.isFile() === true && SOURCE_NAME.test(file)) return await entryOfFile(file);
    return notFound(
      `${path.join(folder, 'package.json')}: "main" names ${main}, which is no .ts or .js file; name the plugin's source file`,
    );
  }
  const names = (await readdir(folder)).filter(isPluginFileName).sort();
  const files: string[] = [];
  for (const name of names) {
    if ((await lstat(path.join(folder, name))).isFile()) files.push(name);
  }
  const chosen = INDEX_NAMES.find((name) => files.includes(name)) ?? (files.length === 1 ? files[0] : undefined);
  if (chosen !== undefined) return await entryOfFile(path.join(folder, chosen));
  if (files.length === 0) return notFound(`${folder}: the folder holds no .ts or .js file that could be a plugin`);
  return notFound(
    `${folder} holds ${files.length} files that could be the plugin (${files.slice(0, 8).join(', ')}). ` +
      'Name one of them, or say which with "main" in package.json',
  );
}

async function mainOfPackage(folder: string): Promise<string | undefined> {
  const text = await readFile(path.join(folder, 'package.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = parseJson(text);
  if (!parsed.ok || !isJsonObject(parsed.value)) return undefined;
  const { main } = parsed.value;
  return typeof main === 'string' && main !== '' ? main : undefined;
}

async function beginsLikeBundle(file: string): Promise<boolean> {
  const handle = await open(file, 'r');
  try {
    const head = Buffer.alloc(BUNDLE_LINE_PREFIX.length);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    return head.subarray(0, bytesRead).toString('utf8') === BUNDLE_LINE_PREFIX;
  } finally {
    await handle.close();
  }
}

function notFound(message: string): BuildFailure {
  return buildFailure('PLUGIN_NOT_FOUND', [{ message }]);
}
