/**
 * One container of one step: made, greeted, waits, serves its step, ends, is removed. Which step it gets is the pool's
 * choice; what a step may do in it is served-step.ts; how a container is made and its end proven is held-container.ts.
 *
 * Invariants:
 *   N1. It takes at most one step, and only when every option of hardening.ts is in force (H1).
 *   N2. A step in it ends exactly once, after the proof that nothing in the container runs (prove-end.ts).
 *   N3. `onGone` comes once and last: the container is removed, or its removal is the sweep's.
 */

import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Peer } from '@flowops/proto/peer.ts';
import type { StepEvents } from '../steps/step-end.ts';
import type { AttemptJob } from '../tier.ts';
import { type ContainerEnd, judgeEnd } from './container-blame.ts';
import type { ContainerUse } from './docker-engine.ts';
import type { ContainerShape } from './hardening.ts';
import { type ContainerWorld, HeldContainer, type StartProblem } from './held-container.ts';
import { ServedStep } from './served-step.ts';

/** Node needs 100 ms on runc, 300 ms on gVisor; many at once on a busy machine need seconds. */
const HELLO_LIMIT_MS = 30_000;

/** What its runner wrote before the container ended has come by then; the daemon passes it on with the end. */
const DRAIN_MS = 500;

export interface ContainerEvents {
  /** It waits for its step. */
  onReady(): void;
  /** `problem` when it never was ready and nobody wanted its end. */
  onGone(problem: StartProblem | undefined): void;
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
  readonly #options: ContainerOptions;
  readonly #held: HeldContainer;
  readonly #opened = Promise.withResolvers<string | undefined>();
  readonly #gone = Promise.withResolvers<void>();
  #phase: Phase = { name: 'making' };
  #isUnwanted = false;
  #peer: Peer | undefined;
  /** Where the kernel cannot be seen: what it took until it waited. */
  #useBefore: ContainerUse | undefined;

  constructor(options: ContainerOptions) {
    const { world, shape, name, hasAppArmor } = options;
    this.shape = shape;
    this.#options = options;
    this.#held = new HeldContainer({ world, shape, name, hasAppArmor, greet: (stream) => this.#greet(stream) });
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
    else {
      this.#held.giveUp();
      this.#opened.resolve('it was closed');
    }
    return this.#gone.promise;
  }

  /** Must be ready. */
  serve(job: AttemptJob, label: string, events: StepEvents): ServedStep {
    const peer = this.#peer;
    const { id, view } = this.#held;
    const { engine } = this.#options.world;
    if (this.#phase.name !== 'waiting' || peer === undefined || id === undefined) {
      throw new Error('a container takes one step, when it is ready');
    }
    const step = new ServedStep({
      peer,
      job,
      events,
      cpus: this.shape.cpus,
      view,
      before: this.#useBefore,
      use: () => engine.use(id),
      onOver: (end) => void this.#finish({ step, end }),
    });
    this.#phase = { name: 'serving', step };
    step.begin();
    // For whoever looks at `docker ps`; nothing waits for it and nothing depends on it.
    void engine.rename(id, `${this.#options.name}-${label}`);
    return step;
  }

  async #make(): Promise<void> {
    const problem = await this.#start();
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
    const problem = await this.#held.start();
    if (problem !== undefined) return problem;
    if (this.#peer?.isOpen !== true) return { kind: 'unlucky', text: 'it ended before it had a step' };
    const { id, view } = this.#held;
    if (view === undefined && id !== undefined) void this.#lookBefore(id);
    return undefined;
  }

  /** Nothing waits for it: Docker 20.10 takes a second. */
  async #lookBefore(id: string): Promise<void> {
    const use = await this.#options.world.engine.use(id);
    if (use.ok && this.#phase.name !== 'serving') this.#useBefore = use.value;
  }

  #greet(stream: Duplex): Promise<string | undefined> {
    this.#peer = new Peer({
      stream,
      side: 'caller',
      role: 'host',
      instance: this.#options.world.owner.instance,
      accepts: ['step-runner'],
      helloTimeoutMs: HELLO_LIMIT_MS,
      onOpen: () => this.#opened.resolve(undefined),
      onMessage: (message) => {
        if (this.#phase.name === 'serving') return this.#phase.step.receive(message);
        this.#peer?.fail(`${message.case} before a step`);
      },
      onClosed: (end) => this.#onClosed(end.message),
    });
    return this.#opened.promise;
  }

  #onClosed(detail: string): void {
    this.#opened.resolve(detail);
    if (this.#phase.name === 'serving') this.#phase.step.end({ kind: 'died', detail });
    else if (this.#phase.name === 'waiting') void this.#finish(undefined);
  }

  /** From here on it is on its way out; the step's end is told after the proof (N2), the removal comes after that. */
  async #finish(served: { step: ServedStep; end: ContainerEnd } | undefined): Promise<void> {
    if (this.#phase.name === 'ending' || this.#phase.name === 'gone') return;
    this.#phase = { name: 'ending' };
    const held = this.#held;
    await served?.step.lastLook();
    const proof = await held.end();
    if (served !== undefined) {
      // What it said before it was killed still counts.
      await Promise.race([this.#peer?.closed, served.step.hasResult, sleep(DRAIN_MS, undefined, { ref: false })]);
      const end = await judgeEnd(served.step.result ?? served.end, {
        oomKills: served.step.oomKills,
        wasAtMemoryLimit: served.step.wasAtMemoryLimit,
        inspect: () => held.inspect(),
        isDaemonUnbroken: () => held.isDaemonUnbroken(),
      });
      const { id, lastWords } = held;
      const facts = { container: id, proof, cause: served.end.kind, end: end.kind, lastWords };
      this.#options.world.log.debug(facts, 'step ended');
      served.step.settle(end);
    }
    await this.#remove();
    this.#leave(undefined);
  }

  async #remove(): Promise<void> {
    this.#peer?.close('the container is removed');
    await this.#held.remove();
  }

  #leave(problem: StartProblem | undefined): void {
    if (this.#phase.name === 'gone') return;
    this.#phase = { name: 'gone' };
    this.#gone.resolve();
    this.#options.events.onGone(problem);
  }
}
