/** What must hold of a jailed worker, as seen from outside by /proc (design 5.2). Linux. */
import { readFileSync, readlinkSync } from 'node:fs';
import { inheritedDescriptors } from '../kernel/process-figures.ts';

export interface ProcessConfinement {
  /** The uid that must not be the worker's; undefined where an ordinary user has only one. */
  readonly hostUid: number | undefined;
  /** A system call filter must be in force. */
  readonly hasFilter: boolean;
}

/**
 * What is missing from a jailed process, seen from outside; empty when it is confined as it must be. A worker that
 * passes gets steps, so that no mistake in a mount or a flag goes unnoticed.
 */
export function confinementGaps(pid: number, { hostUid, hasFilter }: ProcessConfinement): string[] {
  const status = read(`/proc/${pid}/status`);
  if (status === undefined) return ['the process is gone'];
  const gaps: string[] = [];
  if (!/^NoNewPrivs:\t1$/m.test(status)) gaps.push('no-new-privileges is not set');
  if (hasFilter && !/^Seccomp:\t2$/m.test(status)) gaps.push('no system call filter is in force');
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
  const inherited = inheritedDescriptors(pid);
  if (inherited.length > 0) gaps.push(`descriptors ${inherited.join(', ')} of the host are open in it`);
  return gaps;
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
