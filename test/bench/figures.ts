/** Medians, percentiles and the table of `npm run bench`. */

export interface Row {
  readonly what: string;
  readonly value: string;
  /** Design 9: what it should be at least, and the aim. */
  readonly target?: string;
  readonly note?: string;
  /** For `--json`: the plain figures, names with their unit last. */
  readonly figures: Readonly<Record<string, number>>;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

export function latencyRow(what: string, values: readonly number[], more: Pick<Row, 'target' | 'note'> = {}): Row {
  const figures = { medianMs: round(median(values)), p95Ms: round(percentile(values, 0.95)), count: values.length };
  return { what, value: `${figures.medianMs} ms median, ${figures.p95Ms} ms p95 (${figures.count})`, figures, ...more };
}

export function round(value: number): number {
  return Math.round(value * 100) / 100;
}

export function table(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(({ what }) => what.length));
  return rows
    .map(({ what, value, target, note }) => {
      const tail = [target === undefined ? '' : `[target ${target}]`, note ?? '']
        .filter((text) => text !== '')
        .join(' ');
      return `${what.padEnd(width)}  ${value}${tail === '' ? '' : `  ${tail}`}\n`;
    })
    .join('');
}
