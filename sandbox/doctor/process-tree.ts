/** What a process has under it, as the kernel tells: for "nothing of it is left". Linux; elsewhere nothing is known. */
import { readdirSync, readFileSync } from 'node:fs';
import { childrenOf, processCpuMs } from '../isolate/process-figures.ts';

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

/** Not gone, and not only waiting to be reaped. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\t[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
