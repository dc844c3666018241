/** Merged commits leave in a store what the commits one after the other leave. */
import { mergePatches } from '@flowops/engine/runs/merge-patches.ts';
import type { RunPatch } from '@flowops/engine/store/run-store.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import fc from 'fast-check';
import { expect, it } from 'vitest';

const REF = { flowId: 'f', runId: 'r' };
const names = fc.constantFrom('a', 'b', 'c');
const texts = fc.dictionary(names, fc.string({ maxLength: 3 }));
const patches: fc.Arbitrary<RunPatch> = fc.record(
  {
    meta: texts,
    steps: texts,
    outputs: texts,
    events: fc.array(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 3 }),
    acknowledged: fc.nat({ max: 12 }),
    definition: fc.string({ minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: [] },
);

it('the store holds the same, whatever was committed and acknowledged', async () => {
  const check = async (first: RunPatch, later: readonly RunPatch[]) => {
    const whole = { ...first, definition: 'def', outboxFrom: 4 };
    const oneByOne = openSqliteStore({ file: ':memory:' });
    const merged = openSqliteStore({ file: ':memory:' });
    const owner = await oneByOne.openPartition('0');
    await oneByOne.create(REF, owner, whole);
    for (const [index, patch] of later.entries()) await oneByOne.commit(REF, owner.epoch, index + 1, patch);
    await merged.create(REF, await merged.openPartition('0'), mergePatches(whole, later));
    const [expected, got] = [await oneByOne.read(REF), await merged.read(REF)];
    expect(got).toEqual({
      ...expected,
      meta: { ...expected?.meta, epoch: got?.meta.epoch, revision: 1 },
    });
    expect(await merged.readAllOutputs(REF)).toEqual(await oneByOne.readAllOutputs(REF));
    await Promise.all([oneByOne.close(), merged.close()]);
  };
  const first = patches.map(({ acknowledged: _, ...patch }) => patch);
  await fc.assert(fc.asyncProperty(first, fc.array(patches, { maxLength: 6 }), check), { numRuns: 100 });
});
