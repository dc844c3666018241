/**
 * What a process has started, as Linux tells it, so that nothing of it can be overlooked or left. Elsewhere nothing is
 * found; what a killed engine had started ends by itself there as well.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 20;
const PATIENCE_MS = 30_000;

/** For tests that are about those processes. */
export const CAN_SEE_PROCESSES = existsSync('/proc/self/stat');

export interface ProcessRef {
  readonly pid: number;
  /** With the pid it names one process for ever, also when the pid is given to another. */
  readonly startedAt: string;
  readonly command: string;
}

interface Stat extends ProcessRef {
  readonly parent: number;
  readonly isZombie: boolean;
}

/** Everything below a process, children before grandchildren. */
export function descendantsOf(pid: number): readonly ProcessRef[] {
  const all = processes();
  const found: Stat[] = [];
  for (let parents = new Set([pid]); parents.size > 0; ) {
    const children = all.filter(({ parent }) => parents.has(parent));
    found.push(...children);
    parents = new Set(children.map((child) => child.pid));
  }
  return found;
}

/** SIGKILL for a process and all below it, none of which gets to run in between: they are stopped first. */
export function killTree(pid: number): readonly ProcessRef[] {
  const killed = new Map<number, ProcessRef>();
  send(pid, 'SIGSTOP');
  // What was started while we looked is found by looking again.
  for (let found = descendantsOf(pid); found.some((ref) => !killed.has(ref.pid)); found = descendantsOf(pid)) {
    for (const ref of found) {
      killed.set(ref.pid, ref);
      send(ref.pid, 'SIGSTOP');
    }
  }
  for (const ref of killed.values()) send(ref.pid, 'SIGKILL');
  send(pid, 'SIGKILL');
  return [...killed.values()];
}

/** Waits until none of them lives. @throws naming those that do. */
export async function untilGone(refs: readonly ProcessRef[]): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const left = refs.filter(isAlive);
    if (left.length === 0) return;
    if (performance.now() > deadlineMs) {
      throw new Error(`still alive: ${left.map(({ pid, command }) => `${pid} ${command}`).join(', ')}`);
    }
    await sleep(LOOK_MS);
  }
}

function isAlive(ref: ProcessRef): boolean {
  const now = readStat(ref.pid);
  return now !== undefined && now.startedAt === ref.startedAt && !now.isZombie;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}

function processes(): readonly Stat[] {
  const stats: Stat[] = [];
  if (!CAN_SEE_PROCESSES) return stats;
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : undefined;
    if (stat !== undefined) stats.push(stat);
  }
  return stats;
}

/** proc(5): `pid (command) state ppid …`, the start time is field 22. The command may hold anything. */
function readStat(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const end = text.lastIndexOf(')');
  const [state = '', parent = '', ...rest] = text.slice(end + 2).split(' ');
  return {
    pid,
    parent: Number(parent),
    command: text.slice(text.indexOf('(') + 1, end),
    startedAt: rest[17] ?? '',
    isZombie: state === 'Z' || state === 'X',
  };
}
