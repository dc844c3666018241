/**
 * How a step's time in a container ended (design 5.4), in this order: a valid Result, the host's own reason, out of
 * memory, a fault of ours that can be named, else a crash, which is the plugin's.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StepEnd } from '../steps/step-end.ts';
import type { ContainerFacts, DockerAnswer } from './docker-engine.ts';

/** Why a container with a step in it is being ended. */
export type ContainerEnd =
  | Extract<StepEnd, { kind: 'result' | 'charged' | 'starved' | 'killed-on-cancel' }>
  /** Ours, and known. */
  | { readonly kind: 'fault'; readonly detail: string }
  /** It went by itself, closed its output or broke the protocol. */
  | { readonly kind: 'died'; readonly detail: string };

export interface EndWitnesses {
  /** As the kernel counted while the container was there. */
  readonly oomKills: number;
  /** Its memory was seen at its limit. */
  readonly wasAtMemoryLimit: boolean;
  inspect(): Promise<DockerAnswer<ContainerFacts>>;
  isDaemonUnbroken(): Promise<boolean>;
}

/** Docker notes that the kernel killed for memory some time after the container's end. */
const OOM_WAIT_MS = 1_000;
const OOM_POLL_MS = 50;
/** 128 + SIGKILL: how a first process ends that was killed for memory; or by us. */
const EXIT_KILLED = 137;

export async function judgeEnd(end: ContainerEnd, witnesses: EndWitnesses): Promise<StepEnd> {
  switch (end.kind) {
    case 'result':
    case 'charged':
    case 'starved':
    case 'killed-on-cancel':
      return end;
    case 'fault':
      return { kind: 'innocent', detail: end.detail };
    case 'died':
      break;
  }
  if (witnesses.oomKills > 0 || (await wasOutOfMemory(witnesses))) {
    return { kind: 'charged', code: 'LIMIT_MEMORY', detail: 'its container ran out of memory' };
  }
  if (!(await witnesses.isDaemonUnbroken())) return { kind: 'innocent', detail: 'Docker was lost in the middle' };
  return { kind: 'charged', code: 'SANDBOX_CRASHED', detail: `its container was lost (${end.detail})` };
}

/** By Docker's word, and by what was seen, about a container that does not run any more. */
export async function wasOutOfMemory(witnesses: Pick<EndWitnesses, 'inspect' | 'wasAtMemoryLimit'>): Promise<boolean> {
  const untilMs = performance.now() + OOM_WAIT_MS;
  for (;;) {
    const answer = await witnesses.inspect();
    if (!answer.ok) return false;
    const { isOomKilled: isOom, isRunning, exitCode } = answer.value;
    if (isOom) return true;
    if (!isRunning && exitCode !== EXIT_KILLED) return false;
    // Docker's own note gets lost when the cgroup is gone before it looked; killed at the limit, by nobody of ours.
    if (!isRunning && witnesses.wasAtMemoryLimit) return true;
    if (performance.now() > untilMs) return false;
    await sleep(OOM_POLL_MS);
  }
}
