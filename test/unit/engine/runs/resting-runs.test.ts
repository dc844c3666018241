/** Runs that leave memory while nothing happens to them, and come back. Time in the bench jumps, so that a rest is long at once. */

import type { RunRef } from '@flowops/engine/store/run-store.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { describe, expect, it } from 'vitest';
import { FakeHost } from '../../../support/fake-host.ts';
import { echoing, RunBench } from '../../../support/run-bench.ts';

const REF: RunRef = { flowId: 'f', runId: 'r' };
const DIGEST = `sha256:${'0'.repeat(64)}`;
const echo = (stepId: string, inputs: Record<string, string> = {}) => ({ stepId, pluginId: 'test.echo', inputs });
const CHAIN = [echo('a'), echo('b', { text: 'a.text' })];

/** Its first step is done, its second not begun. */
async function pausedRun(bench: RunBench, ref = REF): Promise<void> {
  const before = bench.host.attempts.length;
  await bench.start(ref, CHAIN);
  await bench.host.started(before + 1);
  await bench.send({ eventType: 'PAUSE', ...ref });
  bench.host.attempts[before]?.complete({ text: 'kept' });
  await bench.until(() => bench.outcomes.some(({ runId, quiescent }) => runId === ref.runId && quiescent === true));
}

const parked = (bench: RunBench, count: number) =>
  expect.poll(() => [bench.service.activeCount, bench.service.parkedCount]).toEqual([0, count]);

describe('a paused run', () => {
  it('leaves memory when it is quiet, and goes on from the store when it is resumed', async () => {
    const bench = await RunBench.open();
    await pausedRun(bench);
    await parked(bench, 1);
    expect(bench.service.pinnedDigests()).toEqual(new Set([DIGEST]));
    expect(await bench.send({ eventType: 'RESUME', ...REF })).toMatchObject({ outcome: 'ACCEPTED' });
    await bench.host.started(2);
    expect(bench.host.attempts[1]?.request.inputsJson).toBe('{"text":"kept"}');
    bench.host.attempts[1]?.complete({ text: 'done' });
    await bench.ended('r');
    expect(bench.story('r')).toEqual([
      ...['RUNNING', 'a RUNNING', 'PAUSED', 'a COMPLETED'],
      ...['RUNNING', 'b RUNNING', 'b COMPLETED', 'COMPLETED'],
    ]);
    expect(bench.events.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    await parked(bench, 0);
  });

  it('stays in memory while a step of it runs', async () => {
    const bench = await RunBench.open();
    await bench.start(REF, CHAIN);
    await bench.host.started(1);
    await bench.send({ eventType: 'PAUSE', ...REF });
    await pausedRun(bench, { flowId: 'f', runId: 'other' });
    await expect.poll(() => bench.service.parkedCount).toBe(1);
    expect(bench.service.active(REF)?.state.status).toBe('PAUSED');
  });

  it('can be stopped where it rests', async () => {
    const bench = await RunBench.open();
    await pausedRun(bench);
    await parked(bench, 1);
    await bench.send({ eventType: 'STOP', ...REF });
    await bench.ended('r');
    expect(bench.story('r').slice(-2)).toEqual(['b CANCELLED', 'STOPPED']);
    await parked(bench, 0);
  });

  it('is not read for a repeated START', async () => {
    const bench = await RunBench.open();
    await pausedRun(bench);
    await parked(bench, 1);
    expect(await bench.start(REF, CHAIN)).toMatchObject({ outcome: 'DUPLICATE' });
    expect(bench.service.parkedCount).toBe(1);
  });

  it('takes no room from runs that could go on', async () => {
    const bench = await RunBench.open({ maxActiveRuns: 1 });
    await pausedRun(bench);
    await bench.start({ flowId: 'f', runId: 'next' }, [echo('x')]);
    await bench.host.started(2);
    expect(bench.host.attempts[1]?.request.runId).toBe('next');
  });

  it('is parked again by a restart, without having been in memory', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const before = await RunBench.open({ store });
    for (const runId of ['1', '2', '3']) await pausedRun(before, { flowId: 'f', runId });
    await parked(before, 3);
    before.kill();

    const after = await RunBench.open({ store, host: echoing(), maxActiveRuns: 1 });
    await parked(after, 3);
    expect(after.service.queuedCount).toBe(0);
    expect(after.service.pinnedDigests()).toEqual(new Set([DIGEST]));
    for (const runId of ['1', '2', '3']) await after.send({ eventType: 'RESUME', flowId: 'f', runId });
    for (const runId of ['1', '2', '3']) await after.ended(runId);
    expect(after.host.attempts.map(({ request }) => request.stepId)).toEqual(['b', 'b', 'b']);
  });

  it('is forgotten with its partition', async () => {
    const bench = await RunBench.open();
    await pausedRun(bench);
    await parked(bench, 1);
    await bench.service.partitionsRevoked([0]);
    await parked(bench, 0);
    await bench.service.openPartition('0');
    await parked(bench, 1);
  });
});

describe('more runs than there is room for', () => {
  it('leave memory again while they only wait for a place, and all come to their end', async () => {
    const host = new FakeHost(undefined, 1);
    const bench = await RunBench.open({ host, maxActiveRuns: 2 });
    const runIds = ['1', '2', '3', '4', '5'];
    for (const runId of runIds) await pausedRun(bench, { flowId: 'f', runId });
    await parked(bench, 5);
    for (const runId of runIds) await bench.send({ eventType: 'RESUME', flowId: 'f', runId });
    await expect.poll(() => bench.service.activeCount).toBe(2);
    expect(bench.service.queuedCount).toBe(3);
    echoing(host);
    host.attempts.at(-1)?.complete({ text: 'x' });
    for (const runId of runIds) await bench.ended(runId);
    expect(host.attempts).toHaveLength(10);
  });

  it('are not held up by one that was stopped while it waited', async () => {
    const bench = await RunBench.open({ maxActiveRuns: 1 });
    for (const runId of ['1', '2', '3']) await bench.start({ flowId: 'f', runId }, [echo('a')]);
    expect(bench.service.queuedCount).toBe(2);
    await bench.send({ eventType: 'STOP', flowId: 'f', runId: '2' });
    await bench.ended('2');
    bench.host.attempts[0]?.complete({ text: 'x' });
    await bench.host.started(2);
    expect(bench.host.attempts[1]?.request.runId).toBe('3');
  });
});
