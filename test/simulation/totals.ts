/** What many seeds saw together. */
import { z } from 'zod';
import type { Simulated } from './simulate.ts';

export const totalsSchema = z.object({
  seeds: z.number(),
  failures: z.number(),
  runs: z.number(),
  attempts: z.number(),
  events: z.number(),
  happenings: z.number(),
  excused: z.number(),
  simulatedMs: z.number(),
  faults: z.record(z.string(), z.number()),
});
export type Totals = z.output<typeof totalsSchema>;

export function newTotals(): Totals {
  const nothing = { seeds: 0, failures: 0, runs: 0, attempts: 0, events: 0, happenings: 0, excused: 0, simulatedMs: 0 };
  return { ...nothing, faults: {} };
}

export function addTo(totals: Totals, result: Simulated): void {
  const { runs, attempts, events, happenings, excused, tookMs, faults } = result;
  merge(totals, {
    ...{ seeds: 1, failures: result.violation === undefined ? 0 : 1, runs, attempts, events, happenings, excused },
    simulatedMs: tookMs,
    faults: {},
  });
  for (const kind of faults) totals.faults[kind] = (totals.faults[kind] ?? 0) + 1;
}

export function merge(totals: Totals, more: Totals): void {
  for (const name of [
    'seeds',
    'failures',
    'runs',
    'attempts',
    'events',
    'happenings',
    'excused',
    'simulatedMs',
  ] as const) {
    totals[name] += more[name];
  }
  for (const [kind, count] of Object.entries(more.faults)) totals.faults[kind] = (totals.faults[kind] ?? 0) + count;
}

export function tell(totals: Totals, tookMs: number): readonly string[] {
  const { seeds, failures, runs, attempts, events, happenings, excused, simulatedMs } = totals;
  const faults = Object.entries(totals.faults).sort(([, a], [, b]) => b - a);
  const hours = Math.round(simulatedMs / 3_600_000);
  return [
    `${runs} runs, ${attempts} attempts, ${events} events, ${happenings} happenings in ${hours} simulated hours`,
    `faults: ${faults.map(([kind, count]) => `${kind} ${count}`).join(', ') || 'none'}`,
    `${excused} runs not judged: the store lost writes whose author was gone before it could repeat them`,
    `${seeds} seeds, ${failures} with a violation, ${Math.round((seeds / tookMs) * 60_000)} a minute`,
  ];
}
