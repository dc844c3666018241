/** The same world again and again, its first engine dying at another of its calls to the outside each time. */
import type { Scenario } from './plan/scenario.ts';
import type { CrashPoint } from './world/process.ts';

/** Longer than what an engine does by itself in a world without other faults. */
const WITHIN_MS = 60_000;
const DOWN_MS = 700;

export function crashScenario(base: Scenario, calls: number, point: CrashPoint): Scenario {
  const crash = {
    atMs: 0,
    kind: 'crash-engine',
    engine: 0,
    calls,
    point,
    withinMs: WITHIN_MS,
    downMs: DOWN_MS,
  } as const;
  return { ...base, faults: [...base.faults, crash] };
}
