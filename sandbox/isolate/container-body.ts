/**
 * A worker that is a long-lived container, for machines that refuse namespaces to this host (design 5.2): made, read back,
 * ended, proven and removed as a step's container is. One trust domain at a time, as every worker.
 *
 * Figures come from the kernel where this host sees the container's cgroup. Elsewhere, above all in a host that is in a
 * container itself, Docker is asked now and then: enough to end what takes too much, too coarse for a receipt.
 *
 * PID 1 in it ends everything after LIFE_SECONDS or when its host is gone; long before, `aged` asks for another one.
 */
import { type Duplex, duplexPair } from 'node:stream';
import type { Logger } from 'pino';
import { wasOutOfMemory } from '../container/container-blame.ts';
import type { DockerDaemon, WorldAnswer } from '../container/daemon.ts';
import type { ContainerShape } from '../container/hardening.ts';
import { type ContainerWorld, HeldContainer } from '../container/held-container.ts';
import type { KernelView } from '../container/kernel-view.ts';
import type { SandboxFigures } from '../steps/live-step.ts';
import type { KernelFigures } from '../steps/step-end.ts';
import type { Autopsy, Confinement, WorkerBody } from './worker-body.ts';

const MIB = 1024 * 1024;
/** As long as PID 1 lets anything live (init/flowops-init.c): steps with long wall limits end in the worker they began in. */
const LIFE_SECONDS = 86_400;
/** A worker of this age takes no further step. Renewing costs half a second an hour. */
const RENEW_MS = 3_600_000;
/** From the step's start to its first instruction, its grace, and the end of what runs beside it. */
const SLACK_MS = 60_000;
/** The longest wall limit that PID 1 does not cut short. */
export const MAX_WORKER_WALL_MS = LIFE_SECONDS * 1000 - RENEW_MS - SLACK_MS;
/**
 * The kernel's bound: four steps of 128 MB and the worker itself. Below it the host looks; steps that may take more have
 * it raised, where the runtime can (gVisor cannot).
 */
const MEMORY_MB = 1_024;
/** Node and isolated-vm have about 20 threads, gVisor about 60 of its own; a fork bomb ends here. */
const PIDS = { runc: 256, runsc: 512 } as const;
/** Docker takes some milliseconds for an answer and reads every cgroup of the container for it. */
const ASK_DOCKER_MS = 500;
/** PID 1 and the worker. */
const HONEST_PROCESSES = 2;

export interface ContainerBodyOptions {
  readonly name: string;
  readonly runtime: 'runc' | 'runsc';
  readonly world: ContainerWorld;
  readonly daemon: Pick<DockerDaemon, 'ready'>;
  readonly log: Pick<Logger, 'warn'>;
}

export class ContainerBody implements WorkerBody {
  readonly stream: Duplex;
  readonly gone: Promise<void>;
  readonly aged: Promise<void>;
  readonly pollsMemory = true;
  readonly #options: ContainerBodyOptions;
  /** The other end of `stream`. */
  readonly #inner: Duplex;
  readonly #abort = new AbortController();
  readonly #answered = Promise.withResolvers<string | undefined>();
  readonly #confirmed = Promise.withResolvers<string | undefined>();
  readonly #killed = Promise.withResolvers<void>();
  readonly #aged = Promise.withResolvers<void>();
  #renewal: NodeJS.Timeout | undefined;
  #imageId: string | null = null;
  #held: HeldContainer | undefined;
  #problem = '';
  #limitBytes = MEMORY_MB * MIB;
  #askedAt = Number.NEGATIVE_INFINITY;
  #cpuMs: number | undefined;
  #memoryBytes: number | undefined;
  #peakBytes: number | undefined;
  #mostBytes = 0;
  #oomKills = 0;

  constructor(options: ContainerBodyOptions) {
    this.#options = options;
    [this.stream, this.#inner] = duplexPair();
    // What is wrong with the way shows in its end.
    this.#inner.on('error', () => {});
    this.aged = this.#aged.promise;
    this.gone = this.#live();
  }

  get confinement(): Confinement {
    return { kind: 'container', runtime: this.#options.runtime, imageId: this.#imageId };
  }

  get lastWords(): string {
    return this.#problem || (this.#held?.lastWords ?? '');
  }

  confirm(): Promise<string | undefined> {
    this.#answered.resolve(undefined);
    return this.#confirmed.promise;
  }

  cpuMs(): number | undefined {
    this.#look();
    return this.#cpuMs;
  }

  memoryBytes(): number | undefined {
    this.#look();
    return this.#memoryBytes;
  }

  measure(): () => KernelFigures {
    const view = this.#held?.view;
    if (view === undefined) return () => ({ cpuMs: undefined, peakMemoryBytes: undefined });
    this.#look();
    const baseMs = this.#cpuMs;
    const hasPeak = view.resetPeak();
    this.#peakBytes = undefined;
    return () => {
      this.#look();
      return {
        cpuMs: baseMs === undefined || this.#cpuMs === undefined ? undefined : Math.max(0, this.#cpuMs - baseMs),
        peakMemoryBytes: hasPeak ? this.#peakBytes : undefined,
      };
    };
  }

  figures(): SandboxFigures | undefined {
    const cpuMs = this.cpuMs();
    const delayMs = this.delayMs();
    return cpuMs === undefined || delayMs === undefined ? undefined : { atMs: performance.now(), cpuMs, delayMs };
  }

  delayMs(): number | undefined {
    return this.#held?.view?.delayMs();
  }

  /** gVisor's processes are its own; there the limit of pids counts. */
  hasChildren(): boolean {
    const { runtime } = this.#options;
    return runtime === 'runc' && (this.#held?.view?.processes() ?? 0) > HONEST_PROCESSES;
  }

  makeRoom(bytes: number): void {
    if (bytes <= this.#limitBytes) return;
    this.#limitBytes = bytes;
    void this.#resize(bytes);
  }

  kill(): void {
    this.#abort.abort();
    this.#held?.giveUp();
    this.#answered.resolve('it was closed');
    this.#killed.resolve();
  }

  async examine(): Promise<Autopsy> {
    const held = this.#held;
    if (held?.id === undefined) return { isOom: false, fault: undefined };
    const wasAtMemoryLimit = this.#mostBytes >= this.#limitBytes * 0.97;
    const inspect = () => held.inspect();
    if (this.#oomKills > 0 || (await wasOutOfMemory({ inspect, wasAtMemoryLimit }))) {
      return { isOom: true, fault: undefined };
    }
    return { isOom: false, fault: (await held.isDaemonUnbroken()) ? undefined : 'Docker was lost in the middle' };
  }

  async remove(): Promise<void> {
    await this.#held?.remove();
  }

  /** From its making to the proof of its end. */
  async #live(): Promise<void> {
    const problem = await this.#start();
    this.#confirmed.resolve(problem);
    if (problem === undefined) {
      this.#renewal = setTimeout(() => this.#aged.resolve(), RENEW_MS).unref();
      await this.#killed.promise;
      clearTimeout(this.#renewal);
    } else {
      this.#problem = problem;
      this.#inner.end();
    }
    await this.#held?.end();
    this.#inner.end();
  }

  /** Why it has none; undefined once it answers and is as it should be. */
  async #start(): Promise<string | undefined> {
    const { world, name, daemon } = this.#options;
    const answer = await daemon.ready(this.#abort.signal);
    if (!answer.ok) return answer.problem;
    if (this.#abort.signal.aborted) return 'it was closed';
    const shape = this.#shape(answer);
    this.#imageId = shape.imageId;
    const hasAppArmor = answer.world.facts.security.includes('apparmor');
    this.#held = new HeldContainer({ world, shape, name, hasAppArmor, greet: (stream) => this.#greet(stream) });
    return (await this.#held.start())?.text;
  }

  #shape({ world }: Extract<WorldAnswer, { ok: true }>): ContainerShape {
    const { runtime } = this.#options;
    return {
      imageId: world.image.id,
      imageEnv: world.image.env,
      runtime,
      program: 'isolate-worker',
      memoryMb: MEMORY_MB,
      pids: PIDS[runtime],
      cpus: 0,
      tmpfsMb: 0,
      lifeSeconds: LIFE_SECONDS,
      policyHash: '',
    };
  }

  /** Joins the container's stream to the one that the worker's connection has had from the beginning. */
  #greet(stream: Duplex): Promise<string | undefined> {
    const inner = this.#inner;
    stream.on('error', () => inner.end());
    stream.on('close', () => inner.end());
    inner.on('close', () => stream.destroy());
    stream.pipe(inner);
    inner.pipe(stream);
    return this.#answered.promise;
  }

  #look(): void {
    const view = this.#held?.view;
    if (view !== undefined) this.#seeKernel(view);
    else if (performance.now() - this.#askedAt >= ASK_DOCKER_MS) void this.#ask();
  }

  #seeKernel(view: KernelView): void {
    this.#oomKills = Math.max(this.#oomKills, view.oomKills());
    this.#take(view.cpuMs(), view.memoryBytes());
    this.#peakBytes = view.peakMemoryBytes() ?? this.#peakBytes;
  }

  async #ask(): Promise<void> {
    const id = this.#held?.id;
    if (id === undefined) return;
    this.#askedAt = performance.now();
    const answer = await this.#options.world.engine.use(id);
    if (answer.ok) this.#take(answer.value.cpuMs, answer.value.memoryBytes);
  }

  #take(cpuMs: number | undefined, memoryBytes: number | undefined): void {
    this.#cpuMs = cpuMs ?? this.#cpuMs;
    this.#memoryBytes = memoryBytes ?? this.#memoryBytes;
    this.#mostBytes = Math.max(this.#mostBytes, memoryBytes ?? 0);
  }

  async #resize(bytes: number): Promise<void> {
    const id = this.#held?.id;
    if (id === undefined) return;
    const answer = await this.#options.world.engine.resize(id, bytes);
    if (answer.ok) return;
    const facts = { container: id, problem: answer.failure.problem, megabytes: Math.round(bytes / MIB) };
    this.#options.log.warn(facts, `a worker container keeps its limit of ${MEMORY_MB} MB, which its steps share`);
    this.#limitBytes = MEMORY_MB * MIB;
  }
}
