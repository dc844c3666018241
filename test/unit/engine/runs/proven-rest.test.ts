/** A run leaves memory only when its store can lose nothing of it any more: until then only the run could write it again. */

import type { RunPatch, RunStore } from '@flowops/engine/store/run-store.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { expect, it } from 'vitest';
import { RunBench } from '../../../support/run-bench.ts';

const REF = { flowId: 'f', runId: 'r' };

/** As Redis under everysec says of itself; what was committed is written down. */
function lateStore(): { store: RunStore; commits: RunPatch[] } {
  const commits: RunPatch[] = [];
  const store = openSqliteStore({ file: ':memory:' });
  const commit = store.commit.bind(store);
  Object.assign(store, { durability: { description: 'late', delayMs: 2_500 } });
  store.commit = (run, epoch, revision, patch) => {
    commits.push(patch);
    return commit(run, epoch, revision, patch);
  };
  return { store, commits };
}

const changes = ({ meta = {}, acknowledged: _, ...parts }: RunPatch) => ({ ...meta, ...parts });

it('commits once more, without a change, before it leaves', async () => {
  const { store, commits } = lateStore();
  const bench = await RunBench.open({ store });
  await bench.start(REF, [{ stepId: 'a', pluginId: 'test.echo', inputs: {} }]);
  await bench.host.started(1);
  await bench.send({ eventType: 'PAUSE', ...REF });
  bench.host.attempts[0]?.fail('SANDBOX_UNAVAILABLE', 'no worker');
  await expect.poll(() => [bench.service.activeCount, bench.service.parkedCount]).toEqual([0, 1]);
  expect(Object.keys(changes(commits.at(-1) ?? {}))).toEqual([]);
});

it('is in memory after a restart, too, until the store has proven that it holds it', async () => {
  const { store, commits } = lateStore();
  const before = await RunBench.open({ store });
  await before.start(REF, [{ stepId: 'a', pluginId: 'test.echo', inputs: {} }]);
  await before.host.started(1);
  await before.send({ eventType: 'PAUSE', ...REF });
  before.host.attempts[0]?.fail('SANDBOX_UNAVAILABLE', 'no worker');
  await expect.poll(() => before.service.parkedCount).toBe(1);
  before.kill();
  const made = commits.length;
  const after = await RunBench.open({ store });
  await expect.poll(() => after.service.parkedCount).toBe(1);
  expect(commits.slice(made).map(changes).at(-1)).toEqual({});
});
