/**
 * Puts the container tier together: daemon, pool, sweep, and the tier that the host sees. Nothing here speaks to Docker
 * before the first step of the tier, but for a sweep some time after the start where Docker's socket exists.
 */
import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import type { PolicySource } from '../policy/decision.ts';
import type { Tier } from '../tier.ts';
import { DockerDaemon } from './daemon.ts';
import type { DockerEngine } from './docker-engine.ts';
import { dockerEngine } from './dockerode-engine.ts';
import type { ContainerWorld } from './held-container.ts';
import { thisOwner } from './labels.ts';
import { ContainerPool } from './pool.ts';
import { SECCOMP_PROFILE_JSON } from './seccomp-profile.ts';
import type { KeyedShape } from './shape.ts';
import { StepContainer } from './step-container.ts';
import { sweep } from './sweep.ts';
import { ContainerTier } from './tier.ts';

/** A host that runs one short flow never gets here; one that stays sweeps what its predecessor left. */
const FIRST_SWEEP_MS = 2_000;
const SWEEP_MS = 60_000;
/** Also how long a place ahead stays empty while steps run on. */
const TICK_MS = 500;
const USUAL_SOCKET = '/var/run/docker.sock';

export interface OpenContainerTierOptions {
  /** Name or id. */
  readonly image: string;
  readonly maxContainers: number;
  readonly ahead: number;
  readonly cores: number;
  /** As DOCKER_HOST is written. */
  readonly dockerHost: string | undefined;
  /** Unique for this process. */
  readonly instance: string;
  readonly policy: Pick<PolicySource, 'onChange'>;
  readonly log: Logger;
  /** For tests. */
  readonly engine?: DockerEngine;
  /** For tests: as if this host saw less of the machine. */
  readonly viewOf?: ContainerWorld['viewOf'];
}

export function openContainerTier(options: OpenContainerTierOptions): Tier {
  const { log, instance } = options;
  const engine = options.engine ?? dockerEngine(options.dockerHost);
  const owner = thisOwner(instance);
  const tracked = new Set<string>();
  const left = new Set<string>();
  const runSweep = (): Promise<number> => sweep({ engine, self: owner, tracked, left, log });
  const daemon = new DockerDaemon({ engine, image: options.image, log, onConnected: () => void runSweep() });
  const world: ContainerWorld = {
    ...{ engine, daemon, owner, tracked, left, log, viewOf: options.viewOf },
    seccompProfile: SECCOMP_PROFILE_JSON,
  };
  let made = 0;
  const pool = new ContainerPool<KeyedShape, StepContainer>({
    maxContainers: options.maxContainers,
    ahead: options.ahead,
    maxStarting: Math.max(2, options.cores),
    now: () => performance.now(),
    make: (shape, events) =>
      new StepContainer({
        world,
        shape,
        name: `flowops-${instance}-${++made}`,
        hasAppArmor: daemon.peek()?.facts.security.includes('apparmor') ?? false,
        events,
      }),
  });
  const timers = new Set<NodeJS.Timeout>();
  let isInUse = false;
  const onUse = (): void => {
    if (isInUse) return;
    isInUse = true;
    timers.add(setInterval(() => pool.tick(), TICK_MS).unref());
  };
  const firstSweep = async (): Promise<void> => {
    if (!isInUse && canBeThere(options.dockerHost)) await daemon.facts(AbortSignal.timeout(FIRST_SWEEP_MS));
    timers.add(setInterval(() => daemon.isConnected && void runSweep(), SWEEP_MS).unref());
  };
  timers.add(setTimeout(() => void firstSweep(), FIRST_SWEEP_MS).unref());
  const stopWatching = options.policy.onChange(({ policyHash }) => pool.keepOnly(policyHash));

  return new ContainerTier({
    daemon,
    pool,
    onUse,
    close: async () => {
      for (const timer of timers) clearInterval(timer);
      stopWatching();
      await pool.close();
      // Docker may be back for a last try.
      if (left.size > 0 && daemon.isConnected) await runSweep();
      daemon.close();
    },
  });
}

function canBeThere(dockerHost: string | undefined): boolean {
  const path = dockerHost === undefined ? USUAL_SOCKET : /^unix:\/\/(.+)$/.exec(dockerHost)?.[1];
  return path === undefined || existsSync(path);
}
