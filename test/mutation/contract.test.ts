/**
 * The contract suite of stores against stores that are broken on purpose: it sees at once what chaos sees only when two more
 * faults follow within a moment, and what no engine of one process ever meets (SQLite has one owner).
 */
import { afterEach, describe, expect, it } from 'vitest';
import { SEEN_BY_CONTRACT } from './mutations.ts';
import { runChecks } from './run-program.ts';
import { copyTree, type TreeCopy } from './tree-copy.ts';

const PROGRAM = 'node_modules/vitest/vitest.mjs';

let copy: TreeCopy | undefined;

afterEach(() => copy?.remove());

function runSuites(root: string, suites: readonly string[]) {
  return runChecks(root, PROGRAM, ['run', '--project', 'contract', ...suites]);
}

describe('the contract of stores', () => {
  it('is kept by the stores as they are', async () => {
    copy = copyTree();
    const suites = new Set(SEEN_BY_CONTRACT.map(({ suite }) => suite));
    expect(await runSuites(copy.root, [...suites])).toMatchObject({ found: 'nothing' });
  });

  it.each(SEEN_BY_CONTRACT)('is broken by a $name', async ({ suite, edits }) => {
    copy = copyTree();
    copy.edit(edits);
    const { found, text } = await runSuites(copy.root, [suite]);
    expect(found).toBe('violation');
    // Tests ran and failed by what the store answered, not because nothing could be started.
    expect(text).toMatch(/AssertionError/);
    expect(text).toMatch(/Tests +\d+ failed \| \d+ passed/);
  });
});
