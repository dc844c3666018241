/** A short set of the scenarios of `npm run chaos`, each with fewer runs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CAN_SEE_PROCESSES } from '../support/service-process-tree.ts';
import { runScenario } from './arena.ts';
import { type Ground, openGround } from './ground.ts';
import { linesOf } from './report.ts';
import { SCENARIOS } from './scenarios/all.ts';

const SHORT_SET = ['kill-engine', 'freeze-engine', 'kill-redis'];
const RUNS = 120;
const SEED = 1;

const say = (line: string) => void process.stderr.write(`${line}\n`);
let ground: Ground;

beforeAll(async () => {
  ground = await openGround();
});

afterAll(() => ground.close());

describe('three engines under load break no promise', () => {
  for (const scenario of SCENARIOS.filter(({ name }) => SHORT_SET.includes(name))) {
    it.runIf(CAN_SEE_PROCESSES)(
      `while this happens: ${scenario.about}`,
      { meta: { skipReason: 'needs the process table of Linux' } },
      async () => {
        const report = await runScenario(scenario, { ground, seed: SEED, runs: RUNS, inFlight: RUNS, say });
        say([`${scenario.name}, seed ${SEED}:`, ...linesOf(report)].join('\n'));
        expect(report.violations).toEqual([]);
        expect(report.figures.runs).toBe(RUNS);
        expect(report.faults.length).toBeGreaterThan(0);
      },
    );
  }
});
