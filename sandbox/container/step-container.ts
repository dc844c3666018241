/**
 * One container from its making to its removal: create → attach → start → Hello → (waits) → one step → end → proof →
 * removed. Which step it gets is the pool's choice; what a step may do in it is served-step.ts.
 *
 * Invariants:
 *   N1. It takes at most one step, and only after Docker said that every option of hardening.ts is in force.
 *   N2. A step in it ends exactly once, after the proof that nothing in the container runs (prove-end.ts).
 *   N3. `onGone` comes once and last: the container is removed, or its removal is the sweep's.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { assertNever, messageOf } from '@flowops/proto/errors.ts';
import { Peer } from '@flowops/proto/peer.ts';
import type { Logger } from 'pino';
import type { StepEvents } from '../steps/step-end.ts';
import type { AttemptJob } from '../tier.ts';
import { type ContainerEnd, judgeEnd } from './container-blame.ts';
import type { DockerDaemon } from './daemon.ts';
import type { AttachedContainer, ContainerUse, DockerEngine, DockerFailure } from './docker-engine.ts';
import type { ContainerShape, SpecOptions } from './hardening.ts';
import { containerSpec } from './hardening.ts';
import { hardeningGaps } from './hardening-check.ts';
import { type KernelView, openKernelView } from './kernel-view.ts';
import { labelsOf, type Owner } from './labels.ts';
import { proveEnd } from './prove-end.ts';
import { ServedStep } from './served-step.ts';

/** Node needs 100 ms on runc, 300 ms on gVisor; many at once on a busy machine need seconds. */
const HELLO_LIMIT_MS = 30_000;

/** What its runner wrote before the container ended has come by then; the daemon passes it on with the end. */
const DRAIN_MS = 500;

export type StartProblem =
  /** Nothing can be made at the moment. */
  | { readonly kind: 'docker'; readonly text: string }
  /** Not in this way: another try would end alike. */
  | { readonly kind: 'shape'; readonly text: string }
  | { readonly kind: 'unlucky'; readonly text: string };

export interface ContainerEvents {
  /** It waits for its step. */
  onReady(): void;
  /** `problem` when it never was ready and nobody wanted its end. */
  onGone(problem: StartProblem | undefined): void;
}

/** What every container of a host is made with. */
export interface ContainerWorld {
  readonly engine: DockerEngine;
  readonly daemon: Pick<DockerDaemon, 'generation' | 'isUnbrokenSince' | 'forgetImage'>;
  readonly owner: Owner;
  readonly seccompProfile: string;
  readonly log: Pick<Logger, 'debug' | 'warn'>;
  /** Ids that this host looks after. */
  readonly tracked: Set<string>;
  /** The sweep's: ids of ended ones that could not be removed, names of some that may have been made. */
  readonly left: Set<string>;
  readonly viewOf?: typeof openKernelView | (() => undefined) | undefined;
}

type Phase =
  | { readonly name: 'making' }
  | { readonly name: 'waiting' }
  | { readonly name: 'serving'; readonly step: ServedStep }
  | { readonly name: 'ending' }
  | { readonly name: 'gone' };

export interface ContainerOptions {
  readonly world: ContainerWorld;
  readonly shape: ContainerShape;
  /** Unique under this daemon. */
  readonly name: string;
  readonly hasAppArmor: boolean;
  readonly events: ContainerEvents;
}

export class StepContainer {
  readonly shape: ContainerShape;
  readonly #world: ContainerWorld;
  readonly #options: ContainerOptions;
  readonly #generation: number;
  readonly #opened = Promise.withResolvers<string | undefined>();
  readonly #gone = Promise.withResolvers<void>();
  #phase: Phase = { name: 'making' };
  #isUnwanted = false;
  #id: string | undefined;
  #attached: AttachedContainer | undefined;
  #peer: Peer | undefined;
  #view: KernelView | undefined;
  /** Where the kernel cannot be seen: what it took until it waited. */
  #useBefore: ContainerUse | undefined;
  #startedAtMs = 0;

  constructor(options: ContainerOptions) {
    this.shape = options.shape;
    this.#world = options.world;
    this.#options = options;
    this.#generation = options.world.daemon.generation;
    void this.#make();
  }

  get isReady(): boolean {
    return this.#phase.name === 'waiting';
  }

  /** Resolves when it is gone. A step in it ends as by a fault of ours. Idempotent. */
  close(): Promise<void> {
    this.#isUnwanted = true;
    if (this.#phase.name === 'waiting') void this.#finish(undefined);
    else if (this.#phase.name === 'serving') this.#phase.step.end({ kind: 'fault', detail: 'its sandbox was closed' });
    else this.#opened.resolve('it was closed');
    return this.#gone.promise;
  }

  /** Must be ready. */
  serve(job: AttemptJob, label: string, events: StepEvents): ServedStep {
    const peer = this.#peer;
    const id = this.#id;
    if (this.#phase.name !== 'waiting' || peer === undefined || id === undefined) {
      throw new Error('a container takes one step, when it is ready');
    }
    const step = new ServedStep({
      peer,
      job,
      events,
      cpus: this.shape.cpus,
      view: this.#view,
      before: this.#useBefore,
      use: () => this.#world.engine.use(id),
      onOver: (end) => void this.#finish({ step, end }),
    });
    this.#phase = { name: 'serving', step };
    step.begin();
    // For whoever looks at `docker ps`; nothing waits for it and nothing depends on it.
    void this.#world.engine.rename(id, `${this.#options.name}-${label}`);
    return step;
  }

  async #make(): Promise<void> {
    const problem = await this.#start().catch(
      (thrown: unknown): StartProblem => ({ kind: 'unlucky', text: messageOf(thrown) }),
    );
    if (problem === undefined && !this.#isUnwanted) {
      this.#phase = { name: 'waiting' };
      this.#options.events.onReady();
      return;
    }
    await this.#remove();
    this.#leave(this.#isUnwanted ? undefined : problem);
  }

  /** Undefined once it waits for its step. */
  async #start(): Promise<StartProblem | undefined> {
    const { engine } = this.#world;
    const spec = this.#specOptions();
    const created = await engine.create(containerSpec(spec));
    if (!created.ok) {
      // Docker may have made it all the same, and the answer was lost.
      if (created.failure.kind === 'unreachable') this.#world.left.add(spec.name);
      return this.#startProblem('made', created.failure);
    }
    const id = created.value;
    this.#id = id;
    this.#world.tracked.add(id);
    if (this.#isUnwanted) return { kind: 'unlucky', text: 'it was closed' };
    // Attached before it runs, so that nothing it says is missed.
    const attached = await engine.attach(id);
    if (!attached.ok) return this.#startProblem('attached', attached.failure);
    this.#attached = attached.value;
    this.#startedAtMs = performance.now();
    this.#peer = this.#greet(attached.value);
    const started = await engine.start(id);
    if (!started.ok) return this.#startProblem('started', started.failure);
    const [inspected, silence] = await Promise.all([engine.inspect(id), this.#opened.promise]);
    if (!inspected.ok) return this.#startProblem('inspected', inspected.failure);
    const { isRunning, pid, isOomKilled } = inspected.value;
    if (isOomKilled) {
      return { kind: 'shape', text: `${this.shape.memoryMb} MB of memory are too few for a container to start` };
    }
    if (silence !== undefined) {
      const words = attached.value.lastWords();
      return { kind: 'unlucky', text: words === '' ? silence : `${silence}: ${words}` };
    }
    const gaps = hardeningGaps(inspected.value.inspected, spec);
    if (gaps.length > 0) return { kind: 'shape', text: `Docker did not apply ${gaps.join(', ')}` };
    if (!isRunning || this.#peer?.isOpen !== true) return { kind: 'unlucky', text: 'it ended before it had a step' };
    this.#view = (this.#world.viewOf ?? openKernelView)(id, pid);
    if (this.#view === undefined) {
      const use = await engine.use(id);
      if (use.ok) this.#useBefore = use.value;
    }
    return undefined;
  }

  #specOptions(): SpecOptions {
    const { name, shape, hasAppArmor } = this.#options;
    const { owner, seccompProfile } = this.#world;
    const labels = labelsOf(owner, Date.now() + shape.lifeSeconds * 1000);
    return { name, shape, hasAppArmor, seccompProfile, labels };
  }

  #greet({ stream }: AttachedContainer): Peer {
    return new Peer({
      stream,
      side: 'caller',
      role: 'host',
      instance: this.#world.owner.instance,
      accepts: ['step-runner'],
      helloTimeoutMs: HELLO_LIMIT_MS,
      onOpen: () => this.#opened.resolve(undefined),
      onMessage: (message) => {
        if (this.#phase.name === 'serving') return this.#phase.step.receive(message);
        this.#peer?.fail(`${message.case} before a step`);
      },
      onClosed: (end) => this.#onClosed(end.message),
    });
  }

  #onClosed(detail: string): void {
    this.#opened.resolve(detail);
    if (this.#phase.name === 'serving') this.#phase.step.end({ kind: 'died', detail });
    else if (this.#phase.name === 'waiting') void this.#finish(undefined);
  }

  #startProblem(what: string, failure: DockerFailure): StartProblem {
    const text = `a container could not be ${what}: ${failure.problem}`;
    switch (failure.kind) {
      case 'unreachable':
      case 'aborted':
        return { kind: 'docker', text };
      case 'not-found':
        // The image was removed or replaced since it was resolved.
        this.#world.daemon.forgetImage();
        return { kind: 'unlucky', text };
      case 'refused':
        // Its options do not fit this daemon. What fails later may be for want of something for a moment.
        return { kind: what === 'made' ? 'shape' : 'unlucky', text };
      case 'conflict':
        return { kind: 'unlucky', text };
      default:
        return assertNever(failure);
    }
  }

  /** From here on it is on its way out; the step's end is told after the proof (N2), the removal comes after that. */
  async #finish(served: { step: ServedStep; end: ContainerEnd } | undefined): Promise<void> {
    if (this.#phase.name === 'ending' || this.#phase.name === 'gone') return;
    this.#phase = { name: 'ending' };
    const id = this.#id;
    if (id !== undefined) {
      const { engine, daemon } = this.#world;
      const lifeOverAtMs = this.#startedAtMs + this.shape.lifeSeconds * 1000;
      await served?.step.lastLook();
      const proof = await proveEnd({ engine, id, view: this.#view, lifeOverAtMs });
      if (served !== undefined) {
        // What it said before it was killed still counts.
        await Promise.race([this.#peer?.closed, served.step.hasResult, sleep(DRAIN_MS, undefined, { ref: false })]);
        const end = await judgeEnd(served.step.result ?? served.end, {
          oomKills: served.step.oomKills,
          wasAtMemoryLimit: served.step.wasAtMemoryLimit,
          inspect: () => engine.inspect(id),
          isDaemonUnbroken: () => daemon.isUnbrokenSince(this.#generation),
        });
        const lastWords = this.#attached?.lastWords() ?? '';
        this.#world.log.debug({ container: id, proof, cause: served.end.kind, end: end.kind, lastWords }, 'step ended');
        served.step.settle(end);
      }
    }
    await this.#remove();
    this.#leave(undefined);
  }

  async #remove(): Promise<void> {
    this.#peer?.close('the container is removed');
    this.#attached?.stream.destroy();
    const id = this.#id;
    if (id === undefined) return;
    const removed = await this.#world.engine.remove(id);
    if (!removed.ok && removed.failure.kind !== 'not-found') {
      this.#world.log.debug({ container: id, problem: removed.failure.problem }, 'left to the sweep');
      this.#world.left.add(id);
    }
    this.#world.tracked.delete(id);
  }

  #leave(problem: StartProblem | undefined): void {
    if (this.#phase.name === 'gone') return;
    this.#phase = { name: 'gone' };
    this.#gone.resolve();
    this.#options.events.onGone(problem);
  }
}
