/** The simulation against engines that are broken on purpose: it finds nothing in the one as it is, and each breakage. */
import { afterEach, describe, expect, it } from 'vitest';
import { SEEN_BY_SIMULATION } from './mutations.ts';
import { runChecks } from './run-program.ts';
import { copyTree, type TreeCopy } from './tree-copy.ts';

const PROGRAM = 'test/simulation/main.ts';
/** What the engine as it is must pass here; the stage `simulation` goes further. */
const SEEDS_OF_THE_WHOLE = '400';
/** At most, for a broken one: the most hidden is seen once in some hundred seeds, the others within the first ten. */
const SEEDS_OF_THE_BROKEN = '6000';

let copy: TreeCopy | undefined;

afterEach(() => copy?.remove());

describe('the simulation', () => {
  it('finds nothing in the engine as it is', async () => {
    copy = copyTree();
    const args = ['--from', '1', '--seeds', SEEDS_OF_THE_WHOLE];
    expect(await runChecks(copy.root, PROGRAM, args)).toMatchObject({ found: 'nothing' });
  });

  it.each(SEEN_BY_SIMULATION)('sees an engine that $name', async ({ edits, seenAs }) => {
    copy = copyTree();
    copy.edit(edits);
    const { found, text } = await runChecks(copy.root, PROGRAM, ['--from', '1', '--seeds', SEEDS_OF_THE_BROKEN]);
    expect(found).toBe('violation');
    const [, seed = '', words] = /^seed (\d+): (.*)$/m.exec(text) ?? [];
    expect(words).toMatch(seenAs);
    copy.remove();
    // It was the breakage: the engine as it is passes that very seed.
    copy = copyTree();
    expect(await runChecks(copy.root, PROGRAM, ['--seed', seed])).toMatchObject({ found: 'nothing' });
  });
});
