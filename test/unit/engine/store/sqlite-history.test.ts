import { join } from 'node:path';
import type { Ownership, RunRef, RunStore } from '@flowops/engine/store/run-store.ts';
import { SqliteHistory } from '@flowops/engine/store/sqlite-history.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeFolder, scratchFolder } from '../../../services/scratch.ts';

const RUN: RunRef = { flowId: 'f', runId: 'r' };
const DAY_MS = 24 * 60 * 60 * 1000;

let folder: string;
let nowMs: number;
let store: RunStore;
let owner: Ownership;
let history: SqliteHistory;
beforeEach(async () => {
  folder = scratchFolder();
  nowMs = 1_000_000;
  const file = join(folder, 'state.db');
  store = openSqliteStore({ file, now: () => nowMs });
  history = new SqliteHistory(file, () => nowMs);
  owner = await store.openPartition('0');
});
afterEach(async () => {
  history.close();
  await store.close();
  removeFolder(folder);
});

const bodies = (from = 1, most = 100) => history.entries(RUN, from, most).map(({ position, body }) => [position, body]);

describe('the history of a SQLite store', () => {
  it('has the entries of a run in order, whether or not they were acknowledged', async () => {
    await store.create(RUN, owner, { definition: 'D', events: ['a', 'b'] });
    await store.commit(RUN, owner.epoch, 1, { events: ['c'], acknowledged: 1 });
    await store.commit(RUN, owner.epoch, 2, { events: ['d'], acknowledged: 3 });
    expect(bodies()).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
      [4, 'd'],
    ]);
    expect(bodies(2, 2)).toEqual([
      [2, 'b'],
      [3, 'c'],
    ]);
    expect(bodies(5)).toEqual([]);
    // The outbox of a new owner begins after what was acknowledged.
    expect((await store.read(RUN))?.outbox).toEqual(['d']);
  });

  it('keeps them while the run is kept, and no longer', async () => {
    await store.create(RUN, owner, { definition: 'D', events: ['a'] });
    await store.commit(RUN, owner.epoch, 1, { acknowledged: 1 });
    await store.retire(RUN, owner, 30 * DAY_MS);
    expect(bodies()).toEqual([[1, 'a']]);
    nowMs += 30 * DAY_MS + 1;
    const other = { flowId: 'f', runId: 'other' };
    await store.create(other, owner, { definition: 'D' });
    await store.retire(other, owner, 0);
    expect(bodies()).toEqual([]);
    expect(history.runsNamed('r')).toEqual([]);
  });

  it('finds runs by their id alone, the oldest first, and those that have not ended', async () => {
    const runs = ['x', 'y'].map((flowId) => ({ flowId, runId: 'r' }));
    for (const run of [...runs, RUN]) await store.create(run, owner, { definition: 'D' });
    expect(history.runsNamed('r')).toEqual([...runs, RUN]);
    expect(history.runsNamed('s')).toEqual([]);
    await store.retire(RUN, owner, DAY_MS);
    expect(history.unfinishedRuns()).toEqual(runs);
    expect(history.runsNamed('r')).toEqual([...runs, RUN]);
  });

  it('does not hand a removed run’s entries to the next of its name', async () => {
    await store.create(RUN, owner, { definition: 'D', events: ['old'] });
    await store.commit(RUN, owner.epoch, 1, { acknowledged: 1 });
    await store.retire(RUN, owner, 0);
    nowMs += 8 * DAY_MS;
    await store.create(RUN, owner, { definition: 'D', events: ['new'] });
    expect(bodies()).toEqual([[1, 'new']]);
  });
});
