/**
 * Chaos against a Redis store whose fence was taken away: what a dead engine wrote late is applied under its successor.
 * From outside that shows only when the successor dies before its next commit; the scenario `late-writes` makes it so, and
 * since no two runs of real processes are the same, a few seeds are tried. On the engine as it is, `npm run chaos` and the
 * stage `chaos` run it.
 */
import { afterEach, expect, it } from 'vitest';
import { CAN_SEE_PROCESSES } from '../support/service-process-tree.ts';
import { SEEN_BY_CHAOS } from './mutations.ts';
import { runChecks } from './run-program.ts';
import { copyTree, type TreeCopy } from './tree-copy.ts';

const PROGRAM = 'test/chaos/main.ts';
const LOAD = ['--runs', '60', '--in-flight', '40'];
const SEEDS = ['2', '3', '4'];

let copy: TreeCopy | undefined;

afterEach(() => copy?.remove());

it.runIf(CAN_SEE_PROCESSES).each(SEEN_BY_CHAOS)(
  'chaos sees a $name',
  { meta: { skipReason: 'needs the process table of Linux' }, timeout: 1_500_000 },
  async ({ edits, scenario, seenAs }) => {
    copy = copyTree();
    copy.edit(edits);
    const seen: string[] = [];
    for (const seed of SEEDS) {
      const { found, text } = await runChecks(copy.root, PROGRAM, ['--scenario', scenario, '--seed', seed, ...LOAD]);
      seen.push(text);
      if (found === 'violation' && seenAs.test(text)) return;
    }
    expect(seen.join('\n')).toMatch(seenAs);
  },
);
