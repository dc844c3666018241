/**
 * A folder below a temporary folder that every uid can traverse and only we can write to: for the worker's root and
 * its bundle, which processes of other uids read. A folder of that name that is not ours is never used.
 */
import { chmod, lstat, mkdir, mkdtemp, realpath, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { messageOf } from '@flowops/proto/errors.ts';

export interface PrivateFolder {
  readonly folder: string;
  /** True when it is kept for later starts; false when it is to be removed by whoever opened it. */
  readonly isShared: boolean;
}

/** A file mode's bit that lets every user enter a folder. */
const ENTER_BY_ALL = 0o001;

/**
 * @param places temporary folders to try, in this order.
 * @throws where no place can be used; the message names each and why.
 */
export async function openPrivateFolder(places: readonly string[] = [tmpdir(), '/var/tmp']): Promise<PrivateFolder> {
  const problems: string[] = [];
  const usable: string[] = [];
  for (const place of places) {
    const problem = await reachProblem(place);
    if (problem === undefined) usable.push(place);
    else problems.push(`${place}: ${problem}`);
  }
  for (const place of usable) {
    const folder = path.join(place, `flowops-sandbox-${process.getuid?.() ?? 0}`);
    if ((await claimFolder(folder)) === undefined) return { folder, isShared: true };
  }
  const [place] = usable;
  if (place === undefined) throw new Error(`no temporary folder can be used (${problems.join('; ')}); set TMPDIR`);
  // Somebody sits on our names.
  const folder = await mkdtemp(path.join(place, 'flowops-sandbox-'));
  await chmod(folder, 0o755);
  return { folder, isShared: false };
}

/** Root's workers have uids of their own and no capability: each folder on the way must let them through. */
async function reachProblem(place: string): Promise<string | undefined> {
  try {
    let folder = await realpath(place);
    if (process.getuid?.() !== 0) return undefined;
    for (;;) {
      if (((await stat(folder)).mode & ENTER_BY_ALL) === 0) return `${folder} does not let other users through`;
      if (folder === path.dirname(folder)) return undefined;
      folder = path.dirname(folder);
    }
  } catch (thrown) {
    return messageOf(thrown);
  }
}

async function claimFolder(folder: string): Promise<string | undefined> {
  try {
    await mkdir(folder, { mode: 0o755 });
    await chmod(folder, 0o755);
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST')) return messageOf(thrown);
  }
  const found = await lstat(folder);
  const isOurs = found.isDirectory() && found.uid === (process.getuid?.() ?? found.uid);
  const isClosed = process.platform === 'win32' || (found.mode & 0o022) === 0;
  return isOurs && isClosed ? undefined : 'it belongs to another user';
}
