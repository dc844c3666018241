/** The policy of a host under test: one rule for each plugin of the cases, so that each has its own limits and grants. */
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import type { Place, PluginAttempt } from './case.ts';

/** What an attempt that says nothing else gets: little, so that what leaks shows soon. */
export const TEST_LIMITS: EffectiveLimits = {
  memoryMb: 64,
  cpuMs: 10_000,
  wallMs: 8_000,
  outputBytes: 1024 * 1024,
  logBytes: 65_536,
  hostCalls: 100,
};
/** A heap of 64 MB does not start a Node process in a container of 64 MB. */
const CONTAINER_MEMORY_MB = 128;
const PIDS = { runc: 64, runsc: 256 } as const;

export interface PlannedPlugin {
  readonly name: string;
  readonly attempt: PluginAttempt;
  /** Absent: where the others are. */
  readonly place?: Place;
}

export function limitsOf(attempt: PluginAttempt, place: Place): EffectiveLimits {
  const base = place.tier === 'container' ? { ...TEST_LIMITS, memoryMb: CONTAINER_MEMORY_MB } : TEST_LIMITS;
  return { ...base, ...attempt.limits };
}

/** Whose steps may share an isolate. */
const PUBLISHER = 'doctor';

/**
 * JSON, which is YAML.
 * @param key of the publisher of those plugins that are signed.
 */
export function policyText(plugins: readonly PlannedPlugin[], place: Place, key?: string): string {
  const publishers = key === undefined ? {} : { [PUBLISHER]: { keys: [{ key }], names: [`${PUBLISHER}.*`] } };
  return JSON.stringify(
    { version: 1, publishers, rules: plugins.map((plugin) => ruleOf(plugin, plugin.place ?? place)) },
    null,
    1,
  );
}

function ruleOf({ name, attempt }: PlannedPlugin, place: Place): object {
  const { net = [], secrets = [], wasm } = attempt.grants ?? {};
  const grants = {
    ...(net.length === 0 ? {} : { net }),
    ...(secrets.length === 0 ? {} : { secrets: secrets.map((secret) => ({ name: secret, hosts: [] })) }),
    ...(wasm === true ? { wasm } : {}),
  };
  return {
    match: { plugin: name, ...(attempt.freshness === undefined ? { unsigned: true } : { publisher: PUBLISHER }) },
    ...(attempt.freshness === undefined ? {} : { freshness: attempt.freshness }),
    limits: limitsOf(attempt, place),
    ...(Object.keys(grants).length === 0 ? {} : { grants }),
    ...(place.tier === 'container'
      ? {
          tier: 'container',
          container: {
            runtime: place.runtime,
            pids: attempt.pids ?? PIDS[place.runtime],
            cpus: 1,
            tmpfsMb: 8,
          },
        }
      : { tier: 'isolate' }),
  };
}
