/**
 * The isolate tier: attempts in isolates of jailed workers. Owns what an attempt asks of a worker, and the second try of
 * a suspect alone; its way through the pool to its end is steps/tier-attempt.ts. The workers are worker-process.ts, their choice is
 * worker-pool.ts, their processes are worker-source.ts.
 */
import type { Result } from '@flowops/proto/sandbox_pb.js';
import { readSandboxUsage } from '../attempts/sandbox-result.ts';
import type { KernelFigures } from '../steps/step-end.ts';
import { type PlaceFigures, TierAttempt } from '../steps/tier-attempt.ts';
import type { Tier, TierEvents, TierRequest, TierRun } from '../tier.ts';
import type { Confinement } from './worker-body.ts';
import type { WorkerPool } from './worker-pool.ts';

/** Workers that were ended because of others; after so many it is this machine that has a problem. */
const MAX_FREE_RERUNS = 3;

export interface IsolateTierOptions {
  readonly pool: Pick<WorkerPool, 'submit'>;
  /** "isolated-vm 7.0.1" */
  readonly runtime: string;
  /** Undefined while workers are jailed here, else why not. */
  jailProblem(): string | undefined;
  maxWallMs(): number;
  /** Undefined while workers are no containers. */
  containerRuntime?(): 'runc' | 'runsc' | undefined;
  close(): Promise<void>;
}

export class IsolateTier implements Tier {
  readonly #options: IsolateTierOptions;

  constructor(options: IsolateTierOptions) {
    this.#options = options;
  }

  run(request: TierRequest, events: TierEvents): TierRun {
    const run = new IsolateAttempt(request, events, this.#options);
    run.submit(false);
    return run;
  }

  /** What its workers run under where they are containers: its holes are theirs. */
  containerRuntime(): 'runc' | 'runsc' | undefined {
    return this.#options.containerRuntime?.();
  }

  close(): Promise<void> {
    return this.#options.close();
  }
}

/** Why a rule that requires a jail cannot run here, and what to change. */
export function jailMissing(rule: string, problem: string): string {
  return (
    `${rule} requires a jailed sandbox, and this machine refuses one (${problem}). Allow user namespaces for the ` +
    'sandbox host, give it Docker with the image of worker containers, or let the rule say `jail: none` if you trust the plugin'
  );
}

class IsolateAttempt extends TierAttempt {
  readonly #options: IsolateTierOptions;
  #confinement: Confinement = { kind: 'none' };
  #freeReruns = 0;

  constructor(request: TierRequest, events: TierEvents, options: IsolateTierOptions) {
    super(request, events);
    this.#options = options;
  }

  override submit(isAlone: boolean) {
    const problem = this.#problem();
    if (problem !== undefined) return this.finishFailed('SANDBOX_UNAVAILABLE', problem);
    const { domain, concurrent, jail } = this.request;
    this.enqueue(() =>
      this.#options.pool.submit({
        domain,
        concurrent,
        isAlone,
        needsJail: jail === 'required',
        start: (worker) => {
          this.#confinement = worker.confinement;
          this.place((events) => worker.run(this.request, events));
        },
        refuse: (code, message) => this.finishFailed(code, message),
      }),
    );
  }

  /** Why no worker here can run it. */
  #problem(): string | undefined {
    const { jail, rule, limits } = this.request;
    const missing = jail === 'required' ? this.#options.jailProblem() : undefined;
    if (missing !== undefined) return jailMissing(rule, missing);
    const maxWallMs = this.#options.maxWallMs();
    if (limits.wallMs <= maxWallMs) return undefined;
    return `${rule} gives limits.wallMs ${limits.wallMs}, and no worker container lives that long; write ${maxWallMs} or less`;
  }

  protected override onLost({ kind, detail }: Parameters<TierAttempt['onLost']>[0]): void {
    if (kind === 'suspect') this.again(true);
    else if (this.#freeReruns++ < MAX_FREE_RERUNS) this.again(false);
    else this.finishFailed('SANDBOX_UNAVAILABLE', `no sandbox stayed alive for the step: ${detail}`);
  }

  protected override placeFigures(used: KernelFigures | undefined, result: Result | undefined): PlaceFigures {
    const told = result === undefined ? undefined : readSandboxUsage(result.receiptJson);
    const place = this.#confinement;
    const isContainer = place.kind === 'container';
    return {
      tier: 'isolate',
      jail: place.kind,
      runtime: isContainer ? `${this.#options.runtime} in ${place.runtime}` : this.#options.runtime,
      freshness: this.request.freshness,
      imageDigest: isContainer ? place.imageId : null,
      cpuMs: used?.cpuMs ?? told?.cpuMs ?? null,
      peakMemoryBytes: used?.peakMemoryBytes ?? told?.heapBytes ?? null,
      sources: { cpuMs: sourceOf(used?.cpuMs), peakMemoryBytes: sourceOf(used?.peakMemoryBytes) },
    };
  }
}

/** The kernel's figure where there is one; else what the worker said, if it said anything. */
function sourceOf(ofKernel: number | undefined): 'host' | 'worker' {
  return ofKernel === undefined ? 'worker' : 'host';
}
