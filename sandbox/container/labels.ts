/**
 * The labels of step containers: whose they are, and until when PID 1 lets them live. By them a host finds what a
 * former one left behind, and leaves alone what belongs to a live one (sweep.ts).
 *
 * An owner is named by machine boot, pid namespace, pid and start time of the host's process, so that it is never
 * taken for a later process of the same pid. Which step a container serves is not known when it is made; its name says
 * so from then on (step-container.ts).
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { isRunning, startTicks } from '../kernel/process-figures.ts';

export const APP_LABEL = 'flowops.app';
const APP = 'step-container';
const INSTANCE_LABEL = 'flowops.instance';
const OWNER_LABEL = 'flowops.owner';
const DEADLINE_LABEL = 'flowops.deadline';
export const APP_FILTER = `${APP_LABEL}=${APP}`;

/** The clocks of host and daemon may differ a little, and ending takes its time. */
const DEADLINE_MARGIN_MS = 60_000;

export interface Owner {
  readonly instance: string;
  /** undefined where the system does not tell: then only deadlines count. */
  readonly place: string | undefined;
  readonly pid: number;
  readonly ticks: string | undefined;
}

export function thisOwner(instance: string): Owner {
  return { instance, place: placeOfProcesses(), pid: process.pid, ticks: startTicks(process.pid) };
}

export function labelsOf(owner: Owner, deadlineMs: number): Record<string, string> {
  return {
    [APP_LABEL]: APP,
    [INSTANCE_LABEL]: owner.instance,
    [OWNER_LABEL]: `${owner.place ?? ''} ${owner.pid} ${owner.ticks ?? ''}`,
    [DEADLINE_LABEL]: String(deadlineMs),
  };
}

export type Belonging = 'own' | 'orphan' | 'foreign';

/**
 * @param now the place and the living processes as this host sees them; a test has its own.
 */
export function belongingOf(
  labels: Readonly<Record<string, string>>,
  self: Owner,
  nowMs: number,
  isAlive: (pid: number, ticks: string) => boolean = isRunning,
): Belonging {
  if (labels[INSTANCE_LABEL] === self.instance) return 'own';
  const deadlineMs = Number(labels[DEADLINE_LABEL] ?? Number.NaN);
  // PID 1 has ended it by then, whoever made it. Without a deadline it is not one that we understand.
  if (nowMs > deadlineMs + DEADLINE_MARGIN_MS) return 'orphan';
  const [place = '', pid = '', ticks = ''] = (labels[OWNER_LABEL] ?? '').split(' ');
  const isKnowable = place !== '' && place === self.place && ticks !== '' && /^\d+$/.test(pid);
  return isKnowable && !isAlive(Number(pid), ticks) ? 'orphan' : 'foreign';
}

/** Where a pid means what it means here: this boot of this machine, this pid namespace. */
function placeOfProcesses(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const space = readlinkSync('/proc/self/ns/pid').replace(/\D/g, '');
    return `${boot}/${space}`;
  } catch {
    return undefined;
  }
}
