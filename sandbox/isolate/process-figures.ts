/** What the kernel tells about a process: CPU, memory, children, how it is confined. Linux; elsewhere undefined. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** USER_HZ: 100 on every Linux that Node runs on; it is part of the kernel's interface. */
const TICK_MS = 10;

/** User and system time of all its threads, ms. */
export function processCpuMs(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields === undefined ? undefined : (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** How long its threads were ready to run and did not get a core, ms, all threads together. */
export function processDelayMs(pid: number): number | undefined {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    return undefined;
  }
  let nanoseconds = 0;
  for (const thread of threads)
    nanoseconds += Number(read(`/proc/${pid}/task/${thread}/schedstat`)?.split(' ')[1] ?? 0);
  return nanoseconds / 1e6;
}

/** Resident memory, bytes. */
export function residentBytes(pid: number): number | undefined {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** Tells a process from a later one of the same pid. */
export function startTicks(pid: number): string | undefined {
  return statFields(pid)?.[19];
}

/** False for a process that is gone or only waits to be reaped. */
export function isRunning(pid: number, ticks: string | undefined): boolean {
  const fields = statFields(pid);
  return fields !== undefined && fields[0] !== 'Z' && fields[0] !== 'X' && fields[19] === ticks;
}

export function childrenOf(pid: number): number[] {
  const text = read(`/proc/${pid}/task/${pid}/children`) ?? '';
  return text
    .split(' ')
    .map(Number)
    .filter((child) => Number.isInteger(child) && child > 0);
}

/**
 * What is missing from a jailed process, seen from outside; empty when it is confined as it must be. A worker that
 * passes gets steps, so that no mistake in a mount or a flag goes unnoticed.
 * @param hostUid the uid that must not be the worker's; undefined where an ordinary user has only one.
 */
export function confinementGaps(pid: number, hostUid: number | undefined): string[] {
  const status = read(`/proc/${pid}/status`);
  if (status === undefined) return ['the process is gone'];
  const gaps: string[] = [];
  if (!/^NoNewPrivs:\t1$/m.test(status)) gaps.push('no-new-privileges is not set');
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    if (!new RegExp(`^${set}:\\t0+$`, 'm').test(status)) gaps.push(`${set} is not empty`);
  }
  if (hostUid !== undefined && new RegExp(`^Uid:.*\\b${hostUid}\\b`, 'm').test(status))
    gaps.push('it has the uid of the host');
  for (const space of ['user', 'net', 'pid', 'mnt', 'ipc', 'uts']) {
    const theirs = readLink(`/proc/${pid}/ns/${space}`);
    if (theirs === undefined || theirs === readLink(`/proc/self/ns/${space}`))
      gaps.push(`no ${space} namespace of its own`);
  }
  if (readLink(`/proc/${pid}/root`) === '/') gaps.push('it sees the root folder of the host');
  return gaps;
}

/** Fields of /proc/PID/stat from the third on (the second, a name, may hold anything). */
function statFields(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function readLink(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch {
    return undefined;
  }
}
