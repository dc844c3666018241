/**
 * `npm run simulate -- [--seed N [--trace]] [--from N] [--seeds N] [--jobs N]`: whole engines in one process on a simulated
 * world, one seed after the other; stops at the first that violates a guarantee. Exit code 0: none did, 1: one did, 2: wrong use.
 */
import { parseArgs } from 'node:util';
import { simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '20000' },
    jobs: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const print = (line: string) => process.stdout.write(`${line}\n`);
const from = Number(values.seed ?? values.from);
const seeds = values.seed === undefined ? Number(values.seeds) : 1;
const startedMs = performance.now();
let failures = 0;
let done = 0;
let excused = 0;
for (let seed = from; seed < from + seeds; seed++) {
  const result = await simulate(seed, values.trace ? { print } : {});
  done++;
  excused += result.excused;
  if (values.seed !== undefined) print(JSON.stringify(result));
  if (result.violation === undefined) continue;
  failures++;
  print(`seed ${seed}: ${result.violation.guarantee}: ${result.violation.what}`);
  if (!values.keep) break;
}
const tookMs = performance.now() - startedMs;
print(`${done} seeds, ${failures} failed, ${excused} excused runs, ${Math.round((done / tookMs) * 60_000)} a minute`);
process.exitCode = failures > 0 ? 1 : 0;
