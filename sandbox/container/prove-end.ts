/**
 * Ends a container and proves it (design 5.4): the kernel shows no process of it, or Docker's inspect says that it does
 * not run, never the answer to a kill. While Docker is out of reach and the kernel out of sight, PID 1 is what ends it:
 * then the proof is that its hard life time is over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { assertNever } from '@flowops/proto/errors.ts';
import type { DockerEngine } from './docker-engine.ts';
import type { KernelView } from './kernel-view.ts';

/** The kernel needs a millisecond or two; Docker learns of it some tens later. */
const KERNEL_POLL_MS = 2;
const KERNEL_FAST_MS = 100;
const KERNEL_SLOW_POLL_MS = 25;
const INSPECT_POLL_MS = 20;
const INSPECT_SLOW_POLL_MS = 250;
const INSPECT_FAST_MS = 1_000;
/** A kill can be lost with the daemon that was told. */
const KILL_AGAIN_MS = 1_000;
/** Clocks, and what PID 1 needs to take everything with it. */
export const LIFE_MARGIN_MS = 5_000;

export type EndProof = 'kernel' | 'inspect' | 'life-time';

export interface EndOptions {
  readonly engine: Pick<DockerEngine, 'inspect' | 'kill'>;
  readonly id: string;
  readonly view: Pick<KernelView, 'isEmpty' | 'kill'> | undefined;
  /** When PID 1 has ended it by itself, as performance.now() counts. */
  readonly lifeOverAtMs: number;
}

/** Never rejects; resolves at the latest when the container's life time is over. */
export async function proveEnd(options: EndOptions): Promise<EndProof> {
  const isKilled = options.view?.kill() === true;
  return options.view === undefined ? byInspect(options) : byKernel(options, options.view, isKilled);
}

async function byKernel(
  options: EndOptions,
  view: Pick<KernelView, 'isEmpty' | 'kill'>,
  isKilled: boolean,
): Promise<EndProof> {
  const beganAt = performance.now();
  // Where this host may not kill, Docker may.
  let nextKillAt = isKilled ? beganAt + KILL_AGAIN_MS : beganAt;
  while (!view.isEmpty()) {
    const now = performance.now();
    if (now >= nextKillAt) {
      nextKillAt = now + KILL_AGAIN_MS;
      void options.engine.kill(options.id);
    }
    await sleep(now - beganAt < KERNEL_FAST_MS ? KERNEL_POLL_MS : KERNEL_SLOW_POLL_MS);
  }
  return 'kernel';
}

async function byInspect({ engine, id, lifeOverAtMs }: EndOptions): Promise<EndProof> {
  const beganAt = performance.now();
  let nextKillAt = beganAt;
  for (;;) {
    const now = performance.now();
    if (now >= nextKillAt) {
      nextKillAt = now + KILL_AGAIN_MS;
      await engine.kill(id);
    }
    const answer = await engine.inspect(id);
    if (answer.ok) {
      if (!answer.value.isRunning) return 'inspect';
    } else {
      switch (answer.failure.kind) {
        case 'not-found':
          return 'inspect';
        case 'unreachable':
        case 'refused':
        case 'conflict':
        case 'aborted':
          if (performance.now() > lifeOverAtMs + LIFE_MARGIN_MS) return 'life-time';
          break;
        default:
          assertNever(answer.failure);
      }
    }
    await sleep(now - beganAt < INSPECT_FAST_MS ? INSPECT_POLL_MS : INSPECT_SLOW_POLL_MS);
  }
}
