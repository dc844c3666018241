/**
 * What the container tier sees of Docker: few calls, each bounded in time and ended by its signal, each answered by a
 * value. Types only; dockerode-engine.ts speaks to a real daemon, unit tests have a hand-written one.
 */
import type { Duplex } from 'node:stream';

export type DockerFailure =
  /** No daemon answers: not there, gone in the middle, or silent beyond the call's time limit. */
  | { readonly kind: 'unreachable'; readonly problem: string }
  | { readonly kind: 'not-found'; readonly problem: string }
  /** The container is in another state than the call needs: it runs already, runs no more, is being removed. */
  | { readonly kind: 'conflict'; readonly problem: string }
  /** The daemon understood and will not or cannot do it. */
  | { readonly kind: 'refused'; readonly problem: string }
  | { readonly kind: 'aborted'; readonly problem: string };

export type DockerAnswer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: DockerFailure };

export interface DaemonFacts {
  readonly version: string;
  readonly runtimes: readonly string[];
  /** "seccomp", "apparmor", "rootless", "userns", … */
  readonly security: readonly string[];
}

export interface ImageFacts {
  /** `sha256:<64 hex>` */
  readonly id: string;
  /** NAME=value, as every container of it gets them. */
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** What Docker says about a container. `config` is as it came, read field by field by hardening-check.ts. */
export interface ContainerFacts {
  readonly isRunning: boolean;
  /** Pid of its first process as the daemon's machine counts; 0 when it does not run. */
  readonly pid: number;
  readonly exitCode: number;
  readonly isOomKilled: boolean;
  /** Why it could not start; mostly empty. */
  readonly error: string;
  /** `sha256:<64 hex>` */
  readonly imageId: string;
  readonly inspected: unknown;
}

export interface ListedContainer {
  readonly id: string;
  readonly names: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** created, running, paused, restarting, removing, exited, dead */
  readonly state: string;
  readonly createdMs: number;
}

/** Since the container started; `memoryBytes` is now. */
export interface ContainerUse {
  readonly cpuMs: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly peakMemoryBytes: number | undefined;
}

/** Stdin and stdout of a container as one stream; stderr is not part of it. */
export interface AttachedContainer {
  readonly stream: Duplex;
  /** The end of what it wrote to stderr; for the log. */
  lastWords(): string;
}

/** Options of create, in the words of Docker's API: made by hardening.ts and by nobody else. */
export interface ContainerSpec {
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface DockerEngine {
  daemon(signal?: AbortSignal): Promise<DockerAnswer<DaemonFacts>>;
  /** By name or id. Never pulls. */
  image(name: string, signal?: AbortSignal): Promise<DockerAnswer<ImageFacts>>;
  /** Resolves with the container's id. */
  create(spec: ContainerSpec, signal?: AbortSignal): Promise<DockerAnswer<string>>;
  attach(id: string, signal?: AbortSignal): Promise<DockerAnswer<AttachedContainer>>;
  start(id: string, signal?: AbortSignal): Promise<DockerAnswer<void>>;
  inspect(id: string, signal?: AbortSignal): Promise<DockerAnswer<ContainerFacts>>;
  use(id: string, signal?: AbortSignal): Promise<DockerAnswer<ContainerUse>>;
  /** Its limit of memory, swap included. Not every runtime can. */
  resize(id: string, memoryBytes: number, signal?: AbortSignal): Promise<DockerAnswer<void>>;
  rename(id: string, name: string, signal?: AbortSignal): Promise<DockerAnswer<void>>;
  kill(id: string, signal?: AbortSignal): Promise<DockerAnswer<void>>;
  unpause(id: string, signal?: AbortSignal): Promise<DockerAnswer<void>>;
  /** Whatever state it is in. */
  remove(id: string, signal?: AbortSignal): Promise<DockerAnswer<void>>;
  /** All that carry the label, running or not. */
  list(label: string, signal?: AbortSignal): Promise<DockerAnswer<readonly ListedContainer[]>>;
  /** Resolves when the daemon was lost after this call; `unreachable` at once when it is not there. Never ends otherwise. */
  watch(signal: AbortSignal): Promise<DockerFailure>;
}
