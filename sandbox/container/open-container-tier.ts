/**
 * Puts the container tier together: daemon, pool, sweep, and the tier that the host sees. Nothing here speaks to Docker
 * before the first step of the tier, but for a sweep some time after the start where Docker's socket exists.
 */
import type { PolicySource } from '../policy/decision.ts';
import type { Tier } from '../tier.ts';
import { DockerDaemon } from './daemon.ts';
import { type DockerHoldings, type HoldingsOptions, openHoldings } from './holdings.ts';
import { ContainerPool } from './pool.ts';
import type { KeyedShape } from './shape.ts';
import { StepContainer } from './step-container.ts';
import { ContainerTier } from './tier.ts';

/** A host that runs one short flow never gets here; one that stays sweeps what its predecessor left. */
const FIRST_SWEEP_MS = 2_000;
const SWEEP_MS = 60_000;
/** Also how long a place ahead stays empty while steps run on. */
const TICK_MS = 500;

export interface OpenContainerTierOptions extends HoldingsOptions {
  /** Name or id. */
  readonly image: string;
  readonly maxContainers: number;
  readonly ahead: number;
  readonly cores: number;
  readonly policy: Pick<PolicySource, 'onChange'>;
  /** Shared with the isolate tier, whose workers may be containers too; default: its own. */
  readonly holdings?: DockerHoldings;
}

export function openContainerTier(options: OpenContainerTierOptions): Tier {
  const { log, instance, holdings = openHoldings(options) } = options;
  const daemon = new DockerDaemon({
    engine: holdings.engine,
    image: options.image,
    imageAdvice: { build: 'npm run image', setting: 'SANDBOX_IMAGE' },
    log,
    onConnected: () => void holdings.sweep(),
  });
  const world = holdings.world(daemon);
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
    if (!isInUse && holdings.canBeThere) await daemon.facts(AbortSignal.timeout(FIRST_SWEEP_MS));
    timers.add(setInterval(() => daemon.isConnected && void holdings.sweep(), SWEEP_MS).unref());
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
      if (holdings.left.size > 0 && daemon.isConnected) await holdings.sweep();
      daemon.close();
    },
  });
}
