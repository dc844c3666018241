/** What the kernel tells about a process: CPU, memory, children, descriptors. Linux; elsewhere undefined. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** USER_HZ: 100 on every Linux that Node runs on; it is part of the kernel's interface. */
const TICK_MS = 10;
/** stdin, stdout, stderr, and the socket to whoever started it. */
const LAST_GIVEN_DESCRIPTOR = 3;
/** As /proc shows it, the same on x64 and arm64. */
const O_CLOEXEC = 0o2000000;

/** User and system time of all its threads, and of the processes it made and waited for, ms. */
export function processCpuMs(pid: number): number | undefined {
  const fields = statFields(pid);
  if (fields === undefined) return undefined;
  return [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0) * TICK_MS;
}

/** How long its threads were ready to run and did not get a core, ms, all threads together. */
export function processDelayMs(pid: number): number | undefined {
  const threads = listOf(`/proc/${pid}/task`);
  if (threads.length === 0) return undefined;
  let nanoseconds = 0;
  for (const thread of threads)
    nanoseconds += Number(read(`/proc/${pid}/task/${thread}/schedstat`)?.split(' ')[1] ?? 0);
  return nanoseconds / 1e6;
}

/** The same of its first thread alone. */
export function firstThreadDelayMs(pid: number): number | undefined {
  const nanoseconds = read(`/proc/${pid}/schedstat`)?.split(' ')[1];
  return nanoseconds === undefined ? undefined : Number(nanoseconds) / 1e6;
}

/** Resident memory, bytes. */
export function residentBytes(pid: number): number | undefined {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** The most it had resident since it began or since the last reset, bytes. */
export function peakResidentBytes(pid: number): number | undefined {
  const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** False where the kernel does not let us. */
export function resetPeakResident(pid: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
    return true;
  } catch {
    return false;
  }
}

/** Tells a process from a later one of the same pid. */
export function startTicks(pid: number): string | undefined {
  return statFields(pid)?.[19];
}

/** False for a process that is gone or only waits to be reaped. A zombie whose other threads go on is running. */
export function isRunning(pid: number, ticks: string | undefined): boolean {
  const fields = statFields(pid);
  if (fields === undefined || fields[19] !== ticks || fields[0] === 'X') return false;
  return fields[0] !== 'Z' || Number(fields[17]) > 1;
}

export function childrenOf(pid: number): number[] {
  const text = read(`/proc/${pid}/task/${pid}/children`) ?? '';
  return text
    .split(' ')
    .map(Number)
    .filter((child) => Number.isInteger(child) && child > 0);
}

/** Whichever of its threads made it. */
export function hasChildren(pid: number): boolean {
  return listOf(`/proc/${pid}/task`).some((thread) => (read(`/proc/${pid}/task/${thread}/children`) ?? '') !== '');
}

/**
 * Open descriptors that survive exec: what a process opens by itself does not, so above 3 they come from a parent.
 * @param pid a number, or `self`.
 */
export function inheritedDescriptors(pid: number | 'self'): number[] {
  return listOf(`/proc/${pid}/fdinfo`)
    .map(Number)
    .filter((fd) => {
      if (fd <= LAST_GIVEN_DESCRIPTOR) return false;
      const flags = /^flags:\s+([0-7]+)$/m.exec(read(`/proc/${pid}/fdinfo/${fd}`) ?? '')?.[1];
      return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
    });
}

/** Fields of /proc/PID/stat from the third on (the second, a name, may hold anything). */
function statFields(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function listOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
