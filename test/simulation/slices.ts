/** Shares seeds out to processes: a simulation is one thread's work. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { merge, newTotals, type Totals, totalsSchema } from './totals.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** Seeds that one process does before it takes more: a violation is known soon, and starting one costs little beside. */
const SLICE_SEEDS = 1_000;

export interface SliceOptions {
  readonly from: number;
  readonly seeds: number;
  readonly jobs: number;
  readonly keep: boolean;
  readonly out: (line: string) => void;
}

export async function runSlices({ from, seeds, jobs, keep, out }: SliceOptions): Promise<Totals> {
  const totals = newTotals();
  const children = new Set<ChildProcess>();
  let next = from;
  let isOver = false;
  const worker = async () => {
    while (next < from + seeds && !isOver) {
      const first = next;
      const count = Math.min(SLICE_SEEDS, from + seeds - first);
      next += count;
      const slice = await runSlice(first, count);
      if (slice !== undefined) merge(totals, slice);
      if ((slice?.failures ?? 0) > 0 && !keep) {
        isOver = true;
        for (const child of children) child.kill();
      }
    }
  };
  const runSlice = (first: number, count: number) =>
    new Promise<Totals | undefined>((resolve, reject) => {
      const args = ['--from', `${first}`, '--seeds', `${count}`, '--jobs', '1', '--slice', ...(keep ? ['--keep'] : [])];
      const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
      children.add(child);
      let slice: Totals | undefined;
      const lines = createInterface({ input: child.stdout });
      lines.on('line', (line) => {
        if (!line.startsWith('{')) out(line);
        else slice = totalsSchema.parse(JSON.parse(line));
      });
      child.once('error', reject);
      child.once('close', (code) => {
        children.delete(child);
        if (slice === undefined && !isOver) reject(new Error(`the seeds from ${first} on ended with ${code}`));
        else resolve(slice);
      });
    });
  await Promise.all(Array.from({ length: jobs }, worker));
  return totals;
}
