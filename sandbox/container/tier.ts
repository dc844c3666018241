/**
 * The container tier: from the policy's terms to a container of their shape. Owns what an attempt is told when Docker, its
 * image or its runtime is not there, or its container was lost; its way through the pool to its end is
 * steps/tier-attempt.ts. Containers are step-container.ts, their choice is pool.ts, the daemon is daemon.ts.
 */
import { type PlaceFigures, TierAttempt } from '../steps/tier-attempt.ts';
import type { Tier, TierEvents, TierRequest, TierRun } from '../tier.ts';
import type { DockerDaemon, DockerWorld } from './daemon.ts';
import type { ContainerPool } from './pool.ts';
import type { ServedStep, StepFigures } from './served-step.ts';
import { type KeyedShape, MAX_WALL_MS, shapeOf } from './shape.ts';
import type { StepContainer } from './step-container.ts';

/** Containers that were lost through no fault of the step; after so many the engine's own budget counts. */
const MAX_FREE_RERUNS = 1;
const NO_FIGURES: StepFigures = { cpuMs: null, peakMemoryBytes: null };

export interface ContainerTierOptions {
  readonly daemon: Pick<DockerDaemon, 'peek' | 'ready'>;
  readonly pool: Pick<ContainerPool<KeyedShape, StepContainer>, 'submit'>;
  /** It was used: Docker may be asked now and then from here on. */
  readonly onUse: () => void;
  close(): Promise<void>;
}

export class ContainerTier implements Tier {
  readonly #options: ContainerTierOptions;

  constructor(options: ContainerTierOptions) {
    this.#options = options;
  }

  run(request: TierRequest, events: TierEvents): TierRun {
    this.#options.onUse();
    const run = new ContainerAttempt(request, events, this.#options);
    run.submit();
    return run;
  }

  close(): Promise<void> {
    return this.#options.close();
  }
}

class ContainerAttempt extends TierAttempt {
  readonly #options: ContainerTierOptions;
  /** While Docker, image and runtime are asked for. */
  #asking: AbortController | undefined;
  #imageId: string | null = null;
  #step: ServedStep | undefined;
  #freeReruns = 0;

  constructor(request: TierRequest, events: TierEvents, options: ContainerTierOptions) {
    super(request, events);
    this.#options = options;
  }

  override submit(): void {
    const known = this.#options.daemon.peek();
    if (known === undefined) void this.#ask();
    else this.#enqueue(known);
  }

  override cancel(options: { graceMs: number; reason: string }): void {
    super.cancel(options);
    this.#asking?.abort();
  }

  async #ask(): Promise<void> {
    const asking = new AbortController();
    this.#asking = asking;
    const answer = await this.#options.daemon.ready(asking.signal);
    if (this.#asking === asking) this.#asking = undefined;
    if (!this.isPreparing) return;
    if (answer.ok) this.#enqueue(answer.world);
    else this.#unavailable(answer.problem);
  }

  #enqueue({ facts, image }: DockerWorld) {
    const { container, domain, concurrent, limits, rule } = this.request;
    if (!facts.runtimes.includes(container.runtime)) {
      return this.#unavailable(
        `Docker has no runtime ${container.runtime} (it has ${facts.runtimes.join(', ')}). Install gVisor's runsc and ` +
          `name it under "runtimes" in Docker's daemon.json, or let ${rule} say runtime: runc`,
      );
    }
    if (limits.wallMs > MAX_WALL_MS) return this.#unavailable(`it keeps no step longer than ${MAX_WALL_MS} ms`);
    this.enqueue(() =>
      this.#options.pool.submit({
        domain,
        concurrent,
        shape: shapeOf(this.request, image),
        start: (taken) => this.#start(taken),
        refuse: (_code, message) => this.#refused(message),
      }),
    );
  }

  #start(container: StepContainer): void {
    this.#imageId = container.shape.imageId;
    const { runId, stepId, attempt } = this.request;
    this.place((events) => {
      this.#step = container.serve(this.request, `${runId}.${stepId}.${attempt}`, events);
      return this.#step;
    });
  }

  /** One that has started is the plugin's or Docker's fault, which nobody can tell: never a free rerun. */
  protected override onLost({ detail }: Parameters<TierAttempt['onLost']>[0]): void {
    if (!this.hasStarted && this.#freeReruns++ < MAX_FREE_RERUNS) this.again(false);
    else this.#unavailable(`the step's container was lost: ${detail}`);
  }

  /** One that waited for a container when Docker was lost waits for Docker's return, as those that come now. */
  #refused(problem: string): void {
    const isLost = this.#options.daemon.peek() === undefined;
    if (isLost && this.#freeReruns++ < MAX_FREE_RERUNS) this.again(false);
    else this.#unavailable(problem);
  }

  #unavailable(problem: string): void {
    const { rule, bundle } = this.request;
    const message =
      `${rule} sends ${bundle.manifest.name} to the container tier, which cannot take it now: ${problem}. ` +
      '`flowops sandbox doctor` tells more';
    this.finishFailed('SANDBOX_UNAVAILABLE', message);
  }

  protected override placeFigures(): PlaceFigures {
    return {
      tier: 'container',
      jail: 'container',
      runtime: this.request.container.runtime,
      freshness: 'container',
      imageDigest: this.#imageId,
      ...(this.#step?.figures ?? NO_FIGURES),
      sources: { cpuMs: 'host', peakMemoryBytes: 'host' },
    };
  }
}
