/** What a process has under it, as the kernel tells: for "nothing of it is left". Linux; elsewhere nothing is known. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { childrenOf, processCpuMs } from '../kernel/process-figures.ts';

/** All below `pid`, itself left out. */
export function descendantsOf(pid: number): number[] {
  const found: number[] = [];
  const queue = childrenOf(pid);
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    found.push(at);
    queue.push(...childrenOf(at));
  }
  return found;
}

/** CPU of those processes together, ms. */
export function cpuMsOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (processCpuMs(pid) ?? 0), 0);
}

export function descriptorsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

/** Processes of this machine, containers of a Docker on it included, with `text` in their command line. */
export function processesWith(text: string): number[] {
  if (!existsSync('/proc/self')) return [];
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && pid !== process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
      } catch {
        return false; // no process, or gone meanwhile
      }
    });
}

/** Not gone, and not only waiting to be reaped. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\t[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
