/** Who had the cores meanwhile: this process with the engine in it, the sandbox host below it, the workers below that. */
import { cpuMsOf, descendantsOf } from '../../sandbox/doctor/process-tree.ts';
import { childrenOf } from '../../sandbox/kernel/process-figures.ts';
import { round } from './figures.ts';

interface CpuShares {
  readonly engineCores: number;
  readonly hostCores: number;
  readonly workerCores: number;
}

/** Counts from now on. @returns tells the cores in use since then; a process that ended meanwhile is left out */
export function cpuShares(): () => CpuShares {
  const startedMs = performance.now();
  const before = read();
  const ownBefore = process.cpuUsage();
  return () => {
    const ms = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(ownBefore);
    const now = read();
    const cores = (kind: 'hosts' | 'workers'): number => {
      let usedMs = 0;
      for (const [pid, cpuMs] of now[kind]) usedMs += cpuMs - (before[kind].get(pid) ?? 0);
      return round(usedMs / ms);
    };
    return {
      engineCores: round((user + system) / 1_000 / ms),
      hostCores: cores('hosts'),
      workerCores: cores('workers'),
    };
  };
}

/** CPU so far by process, ms. */
function read(): { hosts: Map<number, number>; workers: Map<number, number> } {
  const hosts = childrenOf(process.pid);
  const cpuOf = (pids: readonly number[]) => new Map(pids.map((pid) => [pid, cpuMsOf([pid])]));
  return { hosts: cpuOf(hosts), workers: cpuOf(hosts.flatMap(descendantsOf)) };
}
