/** The simulation against engines that are broken on purpose: it finds nothing in the one as it is, and each breakage. */
import { afterEach, describe, expect, it } from 'vitest';
import { SEEN_BY_SIMULATION } from './mutations.ts';
import { runChecks } from './run-program.ts';
import { copyTree, type TreeCopy } from './tree-copy.ts';

const PROGRAM = 'test/simulation/main.ts';
/** What the engine as it is must pass here; the stage `simulation` goes further. */
const SEEDS_OF_THE_WHOLE = '400';
/** At most, for a broken one: the most hidden is seen once in some hundred seeds, the others within the first ten. */
const SEEDS_OF_THE_BROKEN = 6_000;
/** A broken engine may be seen in several ways; the one that a breakage is named for is among the first. */
const MAX_FINDS = 20;

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
    const finds = await findUntil(copy, seenAs);
    const { seed, words } = finds.at(-1) ?? {};
    expect(words, `found before: ${JSON.stringify(finds)}`).toMatch(seenAs);
    copy.remove();
    // It was the breakage: the engine as it is passes that very seed.
    copy = copyTree();
    expect(await runChecks(copy.root, PROGRAM, ['--seed', String(seed)])).toMatchObject({ found: 'nothing' });
  });
});

interface Find {
  readonly seed: number;
  readonly words: string;
}

/** What was found, up to the first that is `seenAs`. Several processes share the seeds: which one speaks first is chance. */
async function findUntil(tree: TreeCopy, seenAs: RegExp): Promise<readonly Find[]> {
  const finds: Find[] = [];
  for (let from = 1; from <= SEEDS_OF_THE_BROKEN && finds.length < MAX_FINDS; ) {
    const args = ['--from', String(from), '--seeds', String(SEEDS_OF_THE_BROKEN - from + 1)];
    const { found, text } = await runChecks(tree.root, PROGRAM, args);
    if (found === 'nothing') break;
    const [, seed, words = ''] = /^seed (\d+): (.*)$/m.exec(text) ?? [];
    if (seed === undefined) throw new Error(`a violation without its seed: ${text.slice(-2_000)}`);
    finds.push({ seed: Number(seed), words });
    if (seenAs.test(words)) break;
    from = Number(seed) + 1;
  }
  return finds;
}
