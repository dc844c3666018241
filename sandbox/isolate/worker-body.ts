/**
 * What a worker runs in, as its host sees it: a process in a jail or without one (process-body.ts), or a container
 * (container-body.ts). It can be spoken to, looked at from outside, killed, and is proven to have ended. Types only; who
 * decides over it is worker-process.ts, and the same for each.
 */
import type { Duplex } from 'node:stream';
import type { SandboxFigures } from '../steps/live-step.ts';
import type { KernelFigures } from '../steps/step-end.ts';

/** As receipts name it. */
export type Confinement =
  | { readonly kind: 'namespaces' }
  | { readonly kind: 'container'; readonly runtime: string; readonly imageId: string | null }
  | { readonly kind: 'none' };

export interface WorkerBody {
  readonly confinement: Confinement;
  /** To the worker and from it. What is written before it runs arrives when it does. */
  readonly stream: Duplex;
  /** No process of it is left. Never rejects. */
  readonly gone: Promise<void>;
  /** Resolves when it is to be replaced as soon as nothing runs in it; for most never. */
  readonly aged: Promise<void>;
  /** What it, or whoever makes it, said last. For the log; a compromised worker can say anything. */
  readonly lastWords: string;
  /** False where the kernel bounds its memory at what `makeRoom` says. */
  readonly pollsMemory: boolean;
  /** It has answered. Resolves with why it must not get steps; undefined when it is confined as it must be. */
  confirm(): Promise<string | undefined>;
  /** Of everything that ran in it; undefined where nobody tells. Of one that is gone, what was seen last. */
  cpuMs(): number | undefined;
  /** Measures from now on; the answer gives what was used since. Only one measurement counts at a time. */
  measure(): () => KernelFigures;
  figures(): SandboxFigures | undefined;
  memoryBytes(): number | undefined;
  /** How long what answers pings was ready to run and had no core, since ever. */
  delayMs(): number | undefined;
  /** It has made a process of its own. */
  hasChildren(): boolean;
  /** What the whole worker may take from now on, bytes. */
  makeRoom(bytes: number): void;
  /** Idempotent. */
  kill(): void;
  /** After `gone`. */
  examine(): Promise<Autopsy>;
  /** After `gone`, and last: nothing of it is left anywhere. Never rejects. */
  remove(): Promise<void>;
}

export interface Autopsy {
  /** The kernel killed in it for want of memory. */
  readonly isOom: boolean;
  /** What of ours took it down; undefined when nothing that can be named. */
  readonly fault: string | undefined;
}
