/**
 * What this machine's kernel tells about a container: whether a process of it is left, its CPU, its memory, and whether
 * the kernel killed one for want of memory. Needs no privilege but sight of the daemon's /proc and /sys/fs/cgroup; a
 * host in a container of its own, or with Docker elsewhere, has none and asks Docker instead.
 *
 * The processes are found by the container's cgroups, as /proc names them, and only where they carry the container's
 * id: a pid alone could be somebody else's by now.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isRunning, processDelayMs, startTicks } from '../kernel/process-figures.ts';

const NS_PER_MS = 1e6;
const US_PER_MS = 1e3;

export interface KernelView {
  /** User and system time of all its processes; undefined once its cgroup is gone. */
  cpuMs(): number | undefined;
  /** How long its threads were ready to run and did not get a core, all together. */
  delayMs(): number;
  peakMemoryBytes(): number | undefined;
  /** From now on `peakMemoryBytes` tells the most since now. False where this kernel, or this host, cannot. */
  resetPeak(): boolean;
  memoryBytes(): number | undefined;
  /** On runc those in it; on gVisor those that serve it. */
  processes(): number;
  oomKills(): number;
  /** Its first process is gone (the kernel lets it go last) and no process is left in its cgroup. */
  isEmpty(): boolean;
  /** False where this host may not. */
  kill(): boolean;
}

interface Groups {
  readonly cpu: (() => number | undefined) | undefined;
  readonly memory: { readonly used: string; readonly peak: string; readonly oom: string } | undefined;
  /** Of one of them: a process is in all. */
  readonly procs: string | undefined;
}

/** Undefined when the container cannot be seen from here. `pid` as inspect tells it. */
export function openKernelView(id: string, pid: number, root = '/sys/fs/cgroup'): KernelView | undefined {
  if (pid <= 0) return undefined;
  const ticks = startTicks(pid);
  const lines = read(`/proc/${pid}/cgroup`);
  if (ticks === undefined || lines === undefined) return undefined;
  const groups = findGroups(lines, id, root);
  const { procs } = groups;
  if (procs === undefined) return undefined;
  return {
    cpuMs: () => groups.cpu?.(),
    delayMs: () => pidsIn(procs).reduce((sum, each) => sum + (processDelayMs(each) ?? 0), 0),
    peakMemoryBytes: () => numberIn(groups.memory?.peak),
    resetPeak: () => isVersion1(groups) && tryWrite(groups.memory?.peak, '0'),
    memoryBytes: () => numberIn(groups.memory?.used),
    processes: () => pidsIn(procs).length,
    oomKills: () => Number(/^oom_kill (\d+)/m.exec(read(groups.memory?.oom) ?? '')?.[1] ?? 0),
    isEmpty: () => !isRunning(pid, ticks) && (read(procs) ?? '') === '',
    kill: () => {
      if (!isRunning(pid, ticks)) return true;
      try {
        return process.kill(pid, 'SIGKILL');
      } catch {
        return false;
      }
    },
  };
}

/** Lines of /proc/PID/cgroup: `4:memory:/docker/<id>` of version 1, `0::/system.slice/docker-<id>.scope` of version 2. */
function findGroups(lines: string, id: string, root: string): Groups {
  let cpu: Groups['cpu'];
  let memory: Groups['memory'];
  let procs: string | undefined;
  for (const line of lines.trim().split('\n')) {
    const [, controllers = '', place = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (!place.includes(id)) continue;
    const names = controllers.split(',');
    const folder = path.join(root, controllers, place);
    if (read(path.join(folder, 'cgroup.procs')) === undefined) continue;
    procs ??= path.join(folder, 'cgroup.procs');
    const isVersion2 = controllers === '';
    if (names.includes('cpuacct')) cpu = () => scaled(numberIn(path.join(folder, 'cpuacct.usage')), NS_PER_MS);
    else if (isVersion2) cpu ??= () => scaled(usageUsec(path.join(folder, 'cpu.stat')), US_PER_MS);
    if (names.includes('memory')) {
      memory = {
        used: path.join(folder, 'memory.usage_in_bytes'),
        peak: path.join(folder, 'memory.max_usage_in_bytes'),
        oom: path.join(folder, 'memory.oom_control'),
      };
    } else if (isVersion2) {
      memory ??= {
        used: path.join(folder, 'memory.current'),
        peak: path.join(folder, 'memory.peak'),
        oom: path.join(folder, 'memory.events'),
      };
    }
  }
  return { cpu, memory, procs };
}

function pidsIn(procsFile: string): number[] {
  return (read(procsFile) ?? '').split('\n').filter(Boolean).map(Number);
}

function usageUsec(file: string): number | undefined {
  const text = /^usage_usec (\d+)/m.exec(read(file) ?? '')?.[1];
  return text === undefined ? undefined : Number(text);
}

function numberIn(file: string | undefined): number | undefined {
  const text = read(file)?.trim();
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
}

function scaled(value: number | undefined, divisor: number): number | undefined {
  return value === undefined ? undefined : value / divisor;
}

/** Version 2 resets a peak only for whoever keeps the file open. */
function isVersion1({ memory }: Groups): boolean {
  return memory?.peak.endsWith('max_usage_in_bytes') === true;
}

function tryWrite(file: string | undefined, text: string): boolean {
  if (file === undefined) return false;
  try {
    writeFileSync(file, text);
    return true;
  } catch {
    return false; // not ours to write to
  }
}

function read(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
