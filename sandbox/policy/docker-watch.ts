/**
 * What is known of this machine's Docker, for a policy: asked when a policy that depends on it loads, when a host has
 * been up for a while, and again when a step needs to know and nobody answered before. Deterministic but for the clock
 * it is given.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { PolicyLog } from './decision.ts';
import type { DockerFacts } from './machine.ts';

/** A daemon that did not answer is not asked again for every step. */
const ASK_AGAIN_MS = 2_000;

export interface DockerWatchOptions {
  /** Takes seconds at most, never rejects. */
  readonly look: () => Promise<DockerFacts>;
  readonly log: PolicyLog;
  readonly now?: () => number;
}

export interface RuntimeProblem {
  readonly code: ErrorCode;
  /** Follows "strictRuntimes allows none: ". */
  readonly message: string;
}

export class DockerWatch {
  readonly #options: DockerWatchOptions;
  readonly #now: () => number;
  #facts: DockerFacts | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<DockerFacts> | undefined;

  constructor(options: DockerWatchOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** One look at a time; who comes meanwhile is given the same. */
  look(): Promise<DockerFacts> {
    this.#looking ??= this.#options.look().then((facts) => {
      this.#facts = facts;
      this.#lookedAtMs = this.#now();
      this.#looking = undefined;
      return facts;
    });
    return this.#looking;
  }

  /** Names in the log what is wrong with this machine's containers, and the holes that its kernel is known to have. */
  async report(): Promise<void> {
    const { log } = this.#options;
    const facts = await this.look();
    if (facts.kind === 'absent') {
      log.warn(
        `this host cannot offer the container tier (${facts.problem}): steps that the policy sends there fail with ` +
          'SANDBOX_UNAVAILABLE until Docker answers; `flowops sandbox doctor` tells more',
      );
    }
    const ofContainers = facts.kind === 'available' ? facts.knownHoles.map(({ hole }) => hole) : [];
    for (const hole of new Set([...ofContainers, ...facts.isolateHoles])) log.warn(`known hole: ${hole}`);
    if (facts.exceptedHoles.length === 0) return;
    log.info(
      `also published, but out of reach of guest code here: ${facts.exceptedHoles.join(', ')}; ` +
        '`flowops sandbox doctor` says why',
    );
  }

  /** Why `strictRuntimes: true` lets no container of this runtime start; undefined: it may. */
  problemOf(runtime: string): RuntimeProblem | undefined {
    const facts = this.#facts;
    if (facts?.kind !== 'available') {
      if (this.#now() - this.#lookedAtMs > ASK_AGAIN_MS) void this.look();
      const why = facts === undefined ? 'it is being looked at' : facts.problem;
      return {
        code: 'SANDBOX_UNAVAILABLE',
        message: `it is not known yet whether ${runtime} has known holes here (${why})`,
      };
    }
    const holes = facts.knownHoles.filter((known) => known.runtime === runtime).map(({ hole }) => hole);
    if (holes.length === 0) return undefined;
    return { code: 'POLICY_DENIED', message: `${runtime} of this machine has a known hole: ${holes.join('; ')}` };
  }
}
