/**
 * What a host leaves behind that is killed: a worker normally dies with it, by a death signal that native code in the
 * worker can switch off. Such a one still has one of our roots and no wrapper any more; it is killed at the next start.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';

const WRAPPER = 'unshare';

/** @param root one of the roots; those of other versions lie beside it. Gives how many were killed. */
export function killLeftWorkers(root: string): number {
  const roots = `${path.dirname(root)}/root-`;
  let killed = 0;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid <= 1 || !isLeft(pid, roots)) continue;
    try {
      process.kill(pid, 'SIGKILL');
      killed++;
    } catch {
      // gone meanwhile, or another user's
    }
  }
  return killed;
}

function isLeft(pid: number, roots: string): boolean {
  try {
    if (!readlinkSync(`/proc/${pid}/root`).startsWith(roots)) return false;
    const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    // Its own namespace's first process has a parent outside: the wrapper, while its host lives.
    if (parent === undefined || parent === '0') return false;
    return readFileSync(`/proc/${parent}/comm`, 'utf8').trim() !== WRAPPER;
  } catch {
    return false; // gone meanwhile, or not ours to look at
  }
}
