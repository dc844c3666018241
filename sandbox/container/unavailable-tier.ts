/** The container tier of a host that has no Docker: every attempt ends at once, with why and what to do. */
import { failedOutcome } from '../attempts/sandbox-result.ts';
import type { Tier } from '../tier.ts';

export function unavailableTier(problem: string): Tier {
  return {
    run: ({ rule, bundle, container }) => {
      const message =
        `${rule} sends ${bundle.manifest.name} to the container tier, which this host cannot offer: ${problem}. ` +
        '`flowops sandbox doctor` tells more; to run it in an isolate instead, add a rule that names it and says `tier: isolate`';
      const figures = {
        tier: 'container',
        jail: 'container',
        runtime: container.runtime,
        freshness: 'container',
        imageDigest: null,
        queueMs: 0,
        startMs: 0,
        runMs: 0,
        cpuMs: null,
        peakMemoryBytes: null,
        sources: { cpuMs: 'host', peakMemoryBytes: 'host' },
        droppedLogLines: 0,
      } as const;
      const ended = Promise.resolve({ outcome: failedOutcome('SANDBOX_UNAVAILABLE', message), figures });
      return { ended, cancel: () => {}, pause: () => {}, resume: () => {} };
    },
    close: () => Promise.resolve(),
  };
}
