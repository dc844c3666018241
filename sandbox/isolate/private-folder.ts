/**
 * A folder below a temporary folder that every uid can traverse and only we can write to: for the worker's root and
 * its bundle, which processes of other uids read. A folder of that name that is not ours is never used.
 */
import { chmod, lstat, mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { messageOf } from '@flowops/proto/errors.ts';

export interface PrivateFolder {
  readonly folder: string;
  /** True when it is kept for later starts; false when it is to be removed by whoever opened it. */
  readonly isShared: boolean;
}

/** @param places temporary folders to try, in this order. */
export async function openPrivateFolder(places: readonly string[] = [tmpdir(), '/var/tmp']): Promise<PrivateFolder> {
  for (const place of places) {
    const folder = path.join(place, `flowops-sandbox-${process.getuid?.() ?? 0}`);
    if ((await claimFolder(folder)) === undefined) return { folder, isShared: true };
  }
  // Somebody sits on our names.
  const folder = await mkdtemp(path.join(places[0] ?? tmpdir(), 'flowops-sandbox-'));
  await chmod(folder, 0o755);
  return { folder, isShared: false };
}

/** Makes the folder or checks that it is ours alone; the answer names what is wrong with it. */
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
