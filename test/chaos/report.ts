/** What a scenario saw, in words: its figures, what went otherwise than asked for, and each violation with its place. Pure. */
import type { ScenarioReport } from './scenario.ts';

/** Of one scenario; a broken engine violates thousands of times, and the evidence holds them all. */
const VIOLATIONS_TOLD = 20;

export function linesOf(report: ScenarioReport): readonly string[] {
  const { figures, violations, faults, inFlight, seconds, evidence } = report;
  const ends = Object.entries(figures.ends).map(([status, count]) => `${count} ${status}`);
  const lines = [
    `  ${figures.runs} runs (${ends.join(', ')}), ${inFlight} in flight at most, ${faults.length} faults, ${seconds} s`,
    `  ${figures.events} events, ${figures.repeats} repeated; ${figures.effects} side effects, ${figures.reruns} reruns`,
    `  ${violations.length} violations`,
  ];
  for (const { kind, run, detail } of violations.slice(0, VIOLATIONS_TOLD))
    lines.push(`    ${kind}: ${run}: ${detail}`);
  if (violations.length > VIOLATIONS_TOLD) lines.push(`    and ${violations.length - VIOLATIONS_TOLD} more`);
  if (evidence !== undefined) lines.push(`  evidence: ${evidence}`);
  return lines;
}

export function tableOf(reports: readonly ScenarioReport[]): string {
  const head = [
    'scenario',
    'seed',
    'runs',
    'faults',
    'events',
    'repeats',
    'effects',
    'reruns',
    'seconds',
    'violations',
  ];
  const rows = reports.map(({ name, seed, figures, faults, seconds, violations }) => {
    const { runs, events, repeats, effects, reruns } = figures;
    return [name, seed, runs, faults.length, events, repeats, effects, reruns, seconds, violations.length].map(String);
  });
  const sum = (column: number) => rows.reduce((total, row) => total + Number(row[column]), 0);
  const total = ['all', '', ...[2, 3, 4, 5, 6, 7, 8, 9].map((column) => String(Math.round(sum(column))))];
  const lines = [head, ...rows, total];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const lineOf = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  const violated = reports.filter(({ violations }) => violations.length > 0);
  const verdict =
    violated.length === 0
      ? 'zero violations'
      : `violations in ${violated.map(({ name, seed }) => `${name} (--scenario ${name} --seed ${seed})`).join(', ')}`;
  return [...lines.map(lineOf), verdict].join('\n');
}
