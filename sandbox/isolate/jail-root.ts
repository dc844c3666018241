/**
 * The read-only folder a jailed worker lives in: node, the shared libraries it needs, setpriv, isolated-vm and the
 * worker's own files, and nothing else. Made once per content and kept, because node alone is over 100 MB.
 *
 * Invariants:
 *   R1. A root is complete or not there: it is built beside its place and renamed, and one that is complete is never
 *       touched again, because workers of another host may be starting in it.
 *   R2. It lies in a folder that only we can write to and every uid can traverse (private-folder.ts): the clone
 *       itself may lie under a 0700 folder.
 */
import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, copyFile, link, lstat, mkdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '@flowops/proto/errors.ts';
import { z } from 'zod';
import { openPrivateFolder } from './private-folder.ts';

const run = promisify(execFile);
/** Changes when the layout of a root does, so that an older one is not taken for a new one. */
const LAYOUT = 'flowops-jail-root-2';
/** Several hosts may mend a broken root at once. */
const MAX_MOVES = 5;

/** A file of the host and where it is inside the root (absolute there). */
export interface JailFile {
  readonly source: string;
  readonly target: string;
  /** What tells its content apart where its time does not: by default its size and time do. */
  readonly identity?: string;
}

export type JailRoot =
  | { readonly ok: true; readonly root: string; readonly dispose: () => Promise<void> }
  | { readonly ok: false; readonly problem: string };

const listSchema = z.array(z.object({ target: z.string(), bytes: z.number() }));

export interface JailRootOptions {
  readonly files: readonly JailFile[];
  /** Those of `files` that are ELF files: their shared libraries come along. */
  readonly binaries: readonly string[];
  /** Temporary folders to try. */
  readonly places?: readonly string[];
}

/** Gives a complete root. Never throws. */
export async function prepareJailRoot(options: JailRootOptions): Promise<JailRoot> {
  try {
    const { folder, isShared } = await openPrivateFolder(options.places);
    const root = path.join(folder, `root-${await contentName(options.files)}`);
    if (!(await isComplete(root))) await build(root, options);
    const dispose = async (): Promise<void> => {
      if (!isShared) await rm(folder, { recursive: true, force: true });
    };
    return { ok: true, root, dispose };
  } catch (thrown) {
    return { ok: false, problem: messageOf(thrown) };
  }
}

async function contentName(files: readonly JailFile[]): Promise<string> {
  const hash = createHash('sha256').update(`${LAYOUT}\n${process.arch}\n`);
  for (const { source, target, identity } of files) {
    const real = await realpath(source);
    const { size, mtimeMs } = await stat(real);
    hash.update(`${target}\n${real}\n${identity ?? `${size}\n${mtimeMs}`}\n`);
  }
  return hash.digest('hex').slice(0, 32);
}

/** The list beside the root names every file; a cleaner of temporary files may have taken some. */
async function isComplete(root: string): Promise<boolean> {
  try {
    const list = listSchema.parse(JSON.parse(await readFile(`${root}.json`, 'utf8')));
    const checks = list.map(async ({ target, bytes }) => (await lstat(path.join(root, target))).size === bytes);
    return (await Promise.all(checks)).every(Boolean);
  } catch {
    return false; // not there, or not readable: it is built again
  }
}

async function build(root: string, options: JailRootOptions): Promise<void> {
  const temporary = `${root}.${randomUUID()}.tmp`;
  await makeFolder(temporary);
  try {
    const list = await fill(temporary, options);
    // Before the root is there: whoever sees the root finds its list.
    await writeFile(`${temporary}.json`, JSON.stringify(list), { mode: 0o644 });
    await rename(`${temporary}.json`, `${root}.json`);
    await moveTo(root, temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true });
    await rm(`${temporary}.json`, { force: true });
  }
}

async function fill(folder: string, options: JailRootOptions): Promise<z.output<typeof listSchema>> {
  const libraries = await Promise.all(options.binaries.map(sharedLibraries));
  const files = new Map<string, string>();
  for (const library of libraries.flat()) files.set(library, library);
  for (const { source, target } of options.files) files.set(target, source);
  const list: z.output<typeof listSchema> = [];
  for (const [target, source] of files) {
    const place = path.join(folder, target);
    await makeFolder(path.dirname(place), folder);
    await placeFile(await realpath(source), place);
    list.push({ target, bytes: (await lstat(place)).size });
  }
  return list;
}

/** A root that another host finished meanwhile stays; one that lost files is put aside. */
async function moveTo(root: string, temporary: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await rename(temporary, root);
    } catch (thrown) {
      if (await isComplete(root)) return;
      if (tries === MAX_MOVES) throw thrown;
      const aside = `${root}.${randomUUID()}.tmp`;
      await rename(root, aside).catch(() => {}); // gone meanwhile: the next try tells
      await rm(aside, { recursive: true, force: true });
    }
  }
}

/** mkdir -p with 0755 whatever the umask. */
async function makeFolder(folder: string, below?: string): Promise<void> {
  if (below !== undefined && folder !== below && !(await lstat(path.dirname(folder)).catch(() => undefined))) {
    await makeFolder(path.dirname(folder), below);
  }
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o755);
}

async function placeFile(source: string, place: string): Promise<void> {
  const { mode } = await stat(source);
  // A hard link costs nothing, but has the mode of its source: every uid must be able to read it.
  if ((mode & 0o044) === 0o044) {
    try {
      await link(source, place);
      return;
    } catch {
      // another file system, or links to other people's files are refused: a copy
    }
  }
  await copyFile(source, place, constants.COPYFILE_FICLONE);
  await chmod(place, (mode & 0o111) === 0 ? 0o444 : 0o555);
}

/** Absolute paths of the libraries that the loader would take, the loader among them. */
async function sharedLibraries(binary: string): Promise<string[]> {
  const { stdout } = await run('ldd', [binary], { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' }, timeout: 10_000 });
  if (/not found/.test(stdout)) throw new Error(`a shared library of ${path.basename(binary)} is missing`);
  return [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] ?? '').filter((file) => file !== '');
}
