/**
 * One container of ours, whatever runs in it, from its making to its removal: create → attach → start → greeted → read
 * back … → proof of its end → removed. What is said to it, and when it is to end, is the owner's choice: step-container.ts
 * for one step, isolate/container-body.ts for an isolate worker.
 *
 * Invariants:
 *   H1. `start` succeeds only after Docker said that every option of hardening.ts is in force.
 *   H2. Whatever was made is tracked from then on, and after `remove` it is gone or the sweep's.
 */
import type { Duplex } from 'node:stream';
import { assertNever, messageOf } from '@flowops/proto/errors.ts';
import type { Logger } from 'pino';
import type { DockerDaemon } from './daemon.ts';
import type { AttachedContainer, ContainerFacts, DockerAnswer, DockerEngine, DockerFailure } from './docker-engine.ts';
import { type ContainerShape, containerSpec, type SpecOptions } from './hardening.ts';
import { hardeningGaps } from './hardening-check.ts';
import { type KernelView, openKernelView } from './kernel-view.ts';
import { labelsOf, type Owner } from './labels.ts';
import { type EndProof, proveEnd } from './prove-end.ts';

export type StartProblem =
  /** Nothing can be made at the moment. */
  | { readonly kind: 'docker'; readonly text: string }
  /** Not in this way: another try would end alike. */
  | { readonly kind: 'shape'; readonly text: string }
  | { readonly kind: 'unlucky'; readonly text: string };

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

export interface HeldContainerOptions {
  readonly world: ContainerWorld;
  readonly shape: ContainerShape;
  /** Unique under this daemon. */
  readonly name: string;
  readonly hasAppArmor: boolean;
  /** Begins to speak to what runs in it; resolves when that answered, or with why it did not. Before it runs, once. */
  greet(stream: Duplex): Promise<string | undefined>;
}

export class HeldContainer {
  readonly #options: HeldContainerOptions;
  readonly #generation: number;
  #id: string | undefined;
  #attached: AttachedContainer | undefined;
  #view: KernelView | undefined;
  #startedAtMs = 0;
  #isUnwanted = false;

  constructor(options: HeldContainerOptions) {
    this.#options = options;
    this.#generation = options.world.daemon.generation;
  }

  /** Undefined before it was made. */
  get id(): string | undefined {
    return this.#id;
  }

  /** Undefined before it was started, and where this host does not see it. */
  get view(): KernelView | undefined {
    return this.#view;
  }

  /** The end of what it wrote to stderr; for the log. */
  get lastWords(): string {
    return this.#attached?.lastWords() ?? '';
  }

  /** Undefined once it runs as it should. Never rejects; what was made stays until `remove`. */
  async start(): Promise<StartProblem | undefined> {
    try {
      return await this.#start();
    } catch (thrown) {
      return { kind: 'unlucky', text: messageOf(thrown) };
    }
  }

  /** A start that is under way need not go on. */
  giveUp(): void {
    this.#isUnwanted = true;
  }

  /** Ends it. Resolves when nothing runs in it any more; undefined when it was never made. Never rejects. */
  async end(): Promise<EndProof | undefined> {
    const { world, shape } = this.#options;
    if (this.#id === undefined) return undefined;
    const lifeOverAtMs = this.#startedAtMs + shape.lifeSeconds * 1000;
    return proveEnd({ engine: world.engine, id: this.#id, view: this.#view, lifeOverAtMs });
  }

  /** As Docker tells of it now. Only of one that was made. */
  inspect(): Promise<DockerAnswer<ContainerFacts>> {
    return this.#options.world.engine.inspect(this.#id ?? '');
  }

  /** Whether Docker answers, and did since this container was begun: else what happened to it may be Docker's doing. */
  isDaemonUnbroken(): Promise<boolean> {
    return this.#options.world.daemon.isUnbrokenSince(this.#generation);
  }

  /** Never rejects. Idempotent. */
  async remove(): Promise<void> {
    const { engine, log, left, tracked } = this.#options.world;
    this.#attached?.stream.destroy();
    const id = this.#id;
    if (id === undefined) return;
    const removed = await engine.remove(id);
    if (!removed.ok && removed.failure.kind !== 'not-found') {
      log.debug({ container: id, problem: removed.failure.problem }, 'left to the sweep');
      left.add(id);
    }
    tracked.delete(id);
  }

  async #start(): Promise<StartProblem | undefined> {
    const { world, shape, greet } = this.#options;
    const { engine } = world;
    const spec = this.#specOptions();
    const created = await engine.create(containerSpec(spec));
    if (!created.ok) {
      // Docker may have made it all the same, and the answer was lost.
      if (created.failure.kind === 'unreachable') world.left.add(spec.name);
      return this.#startProblem('made', created.failure);
    }
    const id = created.value;
    this.#id = id;
    world.tracked.add(id); // H2
    if (this.#isUnwanted) return { kind: 'unlucky', text: 'it was closed' };
    // Attached before it runs, so that nothing it says is missed.
    const attached = await engine.attach(id);
    if (!attached.ok) return this.#startProblem('attached', attached.failure);
    this.#attached = attached.value;
    this.#startedAtMs = performance.now();
    const greeted = greet(attached.value.stream);
    const started = await engine.start(id);
    if (!started.ok) return this.#startProblem('started', started.failure);
    const [inspected, silence] = await Promise.all([engine.inspect(id), greeted]);
    if (!inspected.ok) return this.#startProblem('inspected', inspected.failure);
    const { isRunning, pid, isOomKilled } = inspected.value;
    if (isOomKilled) {
      return { kind: 'shape', text: `${shape.memoryMb} MB of memory are too few for a container to start` };
    }
    if (silence !== undefined) {
      const words = attached.value.lastWords();
      return { kind: 'unlucky', text: words === '' ? silence : `${silence}: ${words}` };
    }
    const gaps = hardeningGaps(inspected.value.inspected, spec); // H1
    if (gaps.length > 0) return { kind: 'shape', text: `Docker did not apply ${gaps.join(', ')}` };
    if (!isRunning) return { kind: 'unlucky', text: 'it ended before it had a step' };
    this.#view = (world.viewOf ?? openKernelView)(id, pid);
    return undefined;
  }

  #specOptions(): SpecOptions {
    const { name, shape, hasAppArmor, world } = this.#options;
    const labels = labelsOf(world.owner, Date.now() + shape.lifeSeconds * 1000);
    return { name, shape, hasAppArmor, seccompProfile: world.seccompProfile, labels };
  }

  async #startProblem(what: string, failure: DockerFailure): Promise<StartProblem> {
    const text = `a container could not be ${what}: ${failure.problem}`;
    switch (failure.kind) {
      case 'unreachable':
        // Whoever is refused a container for it finds that Docker is lost, and can wait for its return.
        await this.isDaemonUnbroken();
        return { kind: 'docker', text };
      case 'aborted':
        return { kind: 'docker', text };
      case 'not-found':
        // The image was removed or replaced since it was resolved.
        this.#options.world.daemon.forgetImage();
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
}
