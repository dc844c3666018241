/** Who had the cores meanwhile: this process with the engine in it, the sandbox host below it, the workers below that. */
import { cpuMsOf, descendantsOf } from '../../sandbox/doctor/process-tree.ts';
import { childrenOf } from '../../sandbox/kernel/process-figures.ts';
import { round } from './figures.ts';

interface CpuShares {
  readonly engineCores: number;
  readonly hostCores: number;
  readonly workerCores: number;
}

/** Counts from now on. @returns tells the cores in use since then, of processes that still live or were waited for */
export function cpuShares(): () => CpuShares {
  const startedMs = performance.now();
  const before = read();
  return () => {
    const ms = performance.now() - startedMs;
    const now = read();
    const cores = (kind: keyof typeof now): number => round((now[kind] - before[kind]) / ms);
    return { engineCores: cores('engine'), hostCores: cores('host'), workerCores: cores('workers') };
  };
}

function read(): { engine: number; host: number; workers: number } {
  const hosts = childrenOf(process.pid);
  const { user, system } = process.cpuUsage();
  return {
    engine: (user + system) / 1_000,
    host: cpuMsOf(hosts),
    workers: cpuMsOf(hosts.flatMap(descendantsOf)),
  };
}
