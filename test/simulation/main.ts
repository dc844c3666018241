/**
 * `npm run simulate -- [--seed N [--trace]] [--from N] [--seeds N] [--jobs N] [--keep]`: whole engines in a simulated world,
 * one seed after the other; stops at the first that violates a guarantee (`--keep`: goes on). The seed given alone does
 * the same again, and with `--trace` says everything that happened.
 * Exit code 0: none did, 1: one did, 2: wrong use.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { simulate } from './simulate.ts';
import { runSlices } from './slices.ts';
import { addTo, newTotals, type Totals, tell } from './totals.ts';

const DEFAULT_SEEDS = '20000';
const out = (line: string) => process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: DEFAULT_SEEDS },
    jobs: { type: 'string', default: String(availableParallelism()) },
    keep: { type: 'boolean', default: false },
    /** Prints the totals as JSON, for the process that started this one. */
    slice: { type: 'boolean', default: false },
  },
});
const from = whole('seed' in values && values.seed !== undefined ? values.seed : values.from);
const seeds = values.seed === undefined ? whole(values.seeds) : 1;
const jobs = whole(values.jobs);

if (from === undefined || seeds === undefined || jobs === undefined || jobs < 1) {
  process.stderr.write('--seed, --from, --seeds and --jobs are whole numbers\n');
  process.exitCode = 2;
} else {
  const startedMs = performance.now();
  const isOne = values.seed !== undefined || jobs === 1;
  const totals = isOne ? await here(from, seeds) : await runSlices({ from, seeds, jobs, keep: values.keep, out });
  if (values.slice) out(JSON.stringify(totals));
  else for (const line of tell(totals, performance.now() - startedMs)) out(line);
  process.exitCode = totals.failures > 0 ? 1 : 0;
}

async function here(first: number, count: number): Promise<Totals> {
  const totals = newTotals();
  for (let seed = first; seed < first + count; seed++) {
    const result = await simulate(seed, values.trace ? { print: out } : {});
    addTo(totals, result);
    if (result.violation === undefined) continue;
    const { guarantee, what } = result.violation;
    out(`seed ${seed}: ${guarantee}: ${what} [${result.faults.join(' ')}]`);
    if (!values.keep) break;
  }
  return totals;
}

function whole(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
