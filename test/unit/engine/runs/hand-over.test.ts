/** What happens to attempts when their run's owner changes, dies or may not act, and what STOPPED waits for. */

import type { Standing } from '@flowops/engine/base/standing.ts';
import { endedNote } from '@flowops/engine/runs/attempt-notes.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { describe, expect, it } from 'vitest';
import { FakeAttempt, FakeHost } from '../../../support/fake-host.ts';
import { HandClock, settle } from '../../../support/hand-clock.ts';
import { echoing, parsed, RunBench } from '../../../support/run-bench.ts';

const REF = { flowId: 'f', runId: 'r' };
const LEASE_MS = 15_000;
const echo = (stepId: string, text?: string) => ({
  stepId,
  pluginId: 'test.echo',
  inputs: text === undefined ? {} : { text },
});

function shared(host = new FakeHost()): FakeHost {
  host.isShared = true;
  return host;
}

/** An engine with one step under way is killed; the next has its store. */
async function killedWithStep(host: FakeHost, format: 1 | 2 = 1) {
  const store = openSqliteStore({ file: ':memory:', format });
  const before = await RunBench.open({ store, host });
  await before.start(REF, [echo('a'), echo('b', 'a.text')]);
  await before.host.started(1);
  await settle();
  before.kill();
  return { store, before, attempt: host.attempts[0] };
}

describe('a new owner', () => {
  it('attaches to an attempt that its host still runs, and runs nothing twice', async () => {
    const host = shared();
    const { store, attempt } = await killedWithStep(host);
    const after = await RunBench.open({ store, host });
    await settle();
    expect(host.attached).toEqual([attempt?.request.token]);
    attempt?.complete({ text: 'once' });
    await host.started(2);
    expect(host.attempts[1]?.request).toMatchObject({ stepId: 'b', attempt: 1, inputsJson: '{"text":"once"}' });
    host.attempts[1]?.complete({ text: 'x' });
    await after.ended('r');
    expect(after.story('r').at(-1)).toBe('COMPLETED');
    expect(attempt?.calls).toContain('acknowledge');
  });

  it('takes the result of an attempt that ended while nobody owned the run', async () => {
    const host = shared();
    const { store, attempt } = await killedWithStep(host);
    attempt?.complete({ text: 'kept' });
    const after = await RunBench.open({ store, host });
    await host.started(2);
    expect(host.attempts[1]?.request).toMatchObject({ stepId: 'b', inputsJson: '{"text":"kept"}' });
    after.kill();
  });

  it('runs the step again at once where the host does not know it or has ended, without counting a fault', async () => {
    for (const how of ['unknown', 'ended'] as const) {
      const host = shared(new FakeHost(undefined, 100, 'first'));
      const { store } = await killedWithStep(host);
      const next = how === 'unknown' ? host : new FakeHost(undefined, 100, 'second');
      host.onAttach = () => ({ state: 'unknown' });
      const after = new RunBench({ store, host: next, clock: new HandClock() });
      if (how === 'ended') after.sandboxes.ended.add('first');
      await after.service.openPartition('0');
      await next.started(how === 'unknown' ? 2 : 1);
      expect(next.attempts.at(-1)?.request).toMatchObject({ stepId: 'a', attempt: 2 });
      expect(after.service.active(REF)?.state.steps.get(0)).toMatchObject({ status: 'RUNNING', faults: 0, crashes: 0 });
      after.kill();
    }
  });

  it('waits for a host that it cannot reach until the lease is over, and a moment more', async () => {
    const { store } = await killedWithStep(shared(new FakeHost(undefined, 100, 'away')));
    const clock = new HandClock();
    const after = await RunBench.open({ store, host: new FakeHost(), clock });
    await settle();
    expect(after.service.active(REF)?.state.steps.get(0)).toMatchObject({ status: 'RUNNING', host: 'away' });
    await clock.advance(LEASE_MS + 999);
    expect(after.host.attempts).toEqual([]);
    await clock.advance(1);
    expect(after.host.attempts.map(({ request }) => [request.stepId, request.attempt])).toEqual([['a', 2]]);
    after.kill();
  });

  it('goes on at once when the former owner notes the end, before the claim or after', async () => {
    for (const when of ['before', 'after'] as const) {
      const { store, attempt } = await killedWithStep(new FakeHost(undefined, 100, 'away'));
      const note = () => store.note(REF, '0', endedNote(attempt?.request.token ?? ''));
      if (when === 'before') await note();
      const after = await RunBench.open({ store, host: new FakeHost(), clock: new HandClock() });
      await settle();
      if (when === 'after') {
        expect(after.host.attempts).toEqual([]);
        await store.note(REF, '0', '{"kind":"of another release"}');
        await store.note(REF, '0', 'no JSON');
        await note();
      }
      await after.host.started(1);
      expect(after.host.attempts[0]?.request).toMatchObject({ stepId: 'a', attempt: 2 });
      after.kill();
    }
  });

  it('attaches when the host comes back, also after an answer that was lost with the connection', async () => {
    const host = shared(new FakeHost(undefined, 100, 'flaky'));
    const { store, attempt } = await killedWithStep(host);
    const after = new RunBench({ store, host, clock: new HandClock() });
    host.onAttach = () => ({ state: 'lost' });
    await after.service.openPartition('0');
    await settle();
    after.sandboxes.change(undefined);
    host.onAttach = undefined;
    after.sandboxes.change(host);
    await settle();
    attempt?.complete({ text: 'once' });
    await host.started(2);
    expect(host.attempts[1]?.request.stepId).toBe('b');
    after.kill();
  });

  it('attaches as soon as a connection that it had as the former owner lets go of the attempt', async () => {
    const host = shared();
    const { store, attempt } = await killedWithStep(host);
    const clock = new HandClock();
    const after = new RunBench({ store, host, clock });
    host.onAttach = () => Promise.reject(new Error('the run attaches to an attempt of this connection'));
    await after.service.openPartition('0');
    await clock.advance(LEASE_MS - 1_000);
    host.onAttach = undefined;
    attempt?.complete({ text: 'once' });
    await clock.advance(1_000);
    await host.started(2);
    expect(host.attempts[1]?.request).toMatchObject({ stepId: 'b', inputsJson: '{"text":"once"}' });
    after.kill();
  });

  it('drops the run when the host has seen a newer owner', async () => {
    const host = shared();
    const { store } = await killedWithStep(host);
    const after = new RunBench({ store, host, clock: new HandClock() });
    host.onAttach = () => ({ state: 'refused' });
    await after.service.openPartition('0');
    await settle();
    expect(after.service.activeCount).toBe(0);
    expect(host.attempts).toHaveLength(1);
  });

  it('stops a run whose attempt it took over: the attempt is cancelled, then STOPPED is told', async () => {
    const host = shared();
    const { store, attempt } = await killedWithStep(host);
    const after = await RunBench.open({ store, host });
    expect(await after.send({ eventType: 'STOP', ...REF })).toMatchObject({ outcome: 'ACCEPTED' });
    await after.ended('r');
    expect(attempt?.calls).toContain('cancel');
    expect(after.story('r').slice(-2)).toEqual(['a CANCELLED', 'STOPPED']);
  });
});

describe('STOPPED', () => {
  it('waits for an attempt on a host that cannot be reached, while the owner changes too', async () => {
    const { store } = await killedWithStep(shared(new FakeHost(undefined, 100, 'away')));
    const clock = new HandClock();
    const after = await RunBench.open({ store, host: new FakeHost(), clock });
    await after.send({ eventType: 'STOP', ...REF });
    await settle();
    expect(after.isFinal('r')).toBe(false);
    expect(after.service.unconfirmedStopCount).toBe(1);
    await clock.advance(LEASE_MS + 1_000);
    expect(after.story('r').at(-1)).toBe('STOPPED');
    expect(after.host.attempts).toEqual([]);
  });

  it.each([1, 2] as const)(
    'waits for a lost attempt that may still run, also behind a rerun (format %i)',
    async (format) => {
      const store = openSqliteStore({ file: ':memory:', format });
      const clock = new HandClock();
      const bench = await RunBench.open({ store, clock });
      await bench.start(REF, [echo('a')]);
      await bench.host.started(1);
      bench.host.onAttach = () => ({ state: 'lost' });
      bench.host.attempts[0]?.lose(20_000);
      await settle();
      await clock.advance(1_000);
      expect(bench.host.attempts).toHaveLength(2);
      await bench.send({ eventType: 'STOP', ...REF });
      await settle();
      expect(bench.story('r').at(-1)).toBe('a CANCELLED');
      const stored = await store.read(REF);
      expect(stored?.meta.fields.stop).toBe(format === 1 ? undefined : 'unconfirmed');
      await clock.advance(18_999);
      expect(bench.isFinal('r')).toBe(false);
      await clock.advance(1);
      expect(bench.story('r').at(-1)).toBe('STOPPED');
    },
  );

  it.each([1, 2] as const)('is still waited for by the next owner (format %i)', async (format) => {
    const store = openSqliteStore({ file: ':memory:', format });
    const clock = new HandClock();
    const bench = await RunBench.open({ store, clock, host: new FakeHost(undefined, 100, 'first') });
    await bench.start(REF, [echo('a')]);
    await bench.host.started(1);
    bench.host.onAttach = () => ({ state: 'lost' });
    bench.host.attempts[0]?.lose(10_000);
    await settle();
    await clock.advance(1_000);
    await bench.send({ eventType: 'STOP', ...REF });
    await settle();
    bench.kill();
    const after = await RunBench.open({ store, clock, host: new FakeHost(undefined, 100, 'second') });
    await settle();
    expect(after.isFinal('r')).toBe(false);
    await clock.advance(format === 2 ? 8_999 : LEASE_MS - 1);
    expect(after.isFinal('r')).toBe(false);
    await clock.advance(1);
    expect(after.story('r').at(-1)).toBe('STOPPED');
  });

  it('comes at once when the host is back and says that it knows nothing of the attempt, or is proven to have ended', async () => {
    for (const proof of ['unknown', 'ended', 'note'] as const) {
      const clock = new HandClock();
      const bench = await RunBench.open({ clock });
      await bench.start(REF, [echo('a')]);
      await bench.host.started(1);
      const lost = bench.host.attempts[0];
      bench.sandboxes.change(undefined);
      lost?.lose(20_000);
      await settle();
      await bench.send({ eventType: 'STOP', ...REF });
      await settle();
      expect(bench.isFinal('r')).toBe(false);
      if (proof === 'ended') bench.sandboxes.ended.add('fake');
      if (proof === 'note') await bench.store.note(REF, '0', endedNote(lost?.request.token ?? ''));
      bench.host.onAttach = () => ({ state: 'unknown' });
      bench.sandboxes.change(proof === 'unknown' ? bench.host : undefined);
      await settle();
      expect(bench.story('r').at(-1)).toBe('STOPPED');
    }
  });

  it('ends a lost attempt where it is found again, and waits for that end', async () => {
    const bench = await RunBench.open({ clock: new HandClock() });
    await bench.start(REF, [echo('a')]);
    await bench.host.started(1);
    const [lost] = bench.host.attempts;
    if (lost === undefined) throw new Error('nothing was started');
    const again = new FakeAttempt(lost.request, {});
    bench.sandboxes.change(undefined);
    lost.lose(20_000);
    await bench.send({ eventType: 'STOP', ...REF });
    await settle();
    bench.host.onAttach = () => ({ state: 'running', attempt: again });
    bench.sandboxes.change(bench.host);
    await settle();
    expect(again.calls).toEqual(['cancel', 'acknowledge']);
    expect(bench.story('r').at(-1)).toBe('STOPPED');
  });
});

describe('a partition that is revoked', () => {
  it('leaves attempts on shared hosts to the next owner', async () => {
    const bench = new RunBench({ host: shared() });
    await bench.service.partitionsAssigned([0]);
    await bench.start(REF, [echo('a')]);
    await bench.host.started(1);
    await bench.service.partitionsRevoked([0]);
    await settle();
    expect(bench.host.attempts[0]?.calls).toEqual(['leave']);
    expect(await bench.store.notes(REF)).toEqual([]);
    expect(bench.service.activeCount).toBe(0);
  });

  it('ends those on hosts of its own, and notes each end once it is proven', async () => {
    const bench = new RunBench();
    await bench.service.partitionsAssigned([0]);
    await bench.start(REF, [echo('a'), echo('b')]);
    await bench.host.started(2);
    const [proven, unproven] = bench.host.attempts;
    if (unproven !== undefined) unproven.cancel = () => unproven.lose(30_000);
    await bench.service.partitionsRevoked([0]);
    await settle();
    expect(proven?.calls).toEqual(['cancel', 'acknowledge']);
    expect(await bench.store.notes(REF)).toEqual([endedNote(proven?.request.token ?? '')]);
  });

  it('is given up with all others when the engine closes, which waits for the proven ends, but not for ever', async () => {
    for (const ends of [true, false]) {
      const clock = new HandClock();
      const bench = await RunBench.open({ clock });
      await bench.start(REF, [echo('a')]);
      await bench.host.started(1);
      const [attempt] = bench.host.attempts;
      if (!ends && attempt !== undefined) attempt.cancel = () => undefined;
      let isDone = false;
      const closing = bench.service.letGoOfAll(5_000).then(() => {
        isDone = true;
      });
      await settle();
      expect(isDone).toBe(ends);
      await clock.advance(5_000);
      await closing;
      expect(await bench.store.notes(REF)).toHaveLength(ends ? 1 : 0);
    }
  });

  it('keeps its places for others', async () => {
    const bench = new RunBench({ host: shared(new FakeHost(undefined, 1)) });
    await bench.service.partitionsAssigned([0, 1]);
    await bench.start(REF, [echo('a')]);
    await bench.host.started(1);
    await bench.service.partitionsRevoked([0]);
    const other = { flowId: 'f', runId: 'other' };
    const start = parsed({ eventType: 'START', ...other, steps: [echo('b')] });
    await bench.service.handle(start, 'kafka', { partition: '1' });
    await bench.host.started(2);
    expect(bench.host.attempts[1]?.request.runId).toBe('other');
  });
});

describe('an engine that lost its standing', () => {
  function changing(): Standing & { set(isGood: boolean): void } {
    const listeners = new Set<() => void>();
    return {
      isGood: true,
      onChange(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      set(isGood) {
        Object.assign(this, { isGood });
        for (const listener of listeners) listener();
      },
    };
  }

  it('ends the attempts that only it can reach, starts nothing, and runs them again for nothing when it may', async () => {
    const standing = changing();
    const bench = await RunBench.open({ standing, clock: new HandClock() });
    await bench.start(REF, [echo('a')]);
    await bench.host.started(1);
    standing.set(false);
    await settle();
    expect(bench.host.attempts[0]?.calls).toContain('cancel');
    expect(bench.host.attempts).toHaveLength(1);
    expect(await bench.store.notes(REF)).toHaveLength(1);
    standing.set(true);
    await bench.host.started(2);
    expect(bench.service.active(REF)?.state.steps.get(0)).toMatchObject({ attempt: 2, faults: 0 });
    bench.kill();
  });

  it('leaves attempts on shared hosts alone', async () => {
    const standing = changing();
    const bench = await RunBench.open({ standing, host: shared() });
    await bench.start(REF, [echo('a')]);
    await bench.host.started(1);
    standing.set(false);
    await settle();
    expect(bench.host.attempts[0]?.calls).toEqual([]);
    bench.kill();
  });
});

describe('a step whose host dies under it', () => {
  it('is not tried for ever: after three hosts it fails as SANDBOX_CRASHED', async () => {
    const host = new FakeHost((attempt) => attempt.lose(0, true));
    const bench = await RunBench.open({ host });
    await bench.start(REF, [echo('a')]);
    await bench.ended('r');
    expect(host.attempts).toHaveLength(3);
    expect(bench.events.at(-1)).toMatchObject({ status: 'FAILED', code: 'SANDBOX_CRASHED' });
    expect(bench.events.at(-1)?.error).toContain('died 3 times while this step ran');
  });

  it('takes its neighbours with it twice at most: then suspects run one at a time, and only the one is blamed', async () => {
    const host = new FakeHost();
    const inFlight = new Set<FakeHost['attempts'][number]>();
    const bench = await RunBench.open({ host });
    const isKiller = (attempt: FakeHost['attempts'][number]) => attempt.request.stepId === 'killer';
    host.behaviour = (attempt) => {
      inFlight.add(attempt);
      // Once all that can run beside it do, the killer ends the host, and everything on it.
      setImmediate(() => {
        if (!inFlight.has(attempt) || ![...inFlight].some(isKiller)) {
          if (inFlight.delete(attempt)) attempt.complete({ text: 'x' });
          return;
        }
        for (const other of inFlight) other.lose(0, true);
        inFlight.clear();
      });
    };
    await bench.start({ flowId: 'f', runId: 'bad' }, [echo('killer')]);
    const good = ['g1', 'g2', 'g3'];
    for (const runId of good) await bench.start({ flowId: 'f', runId }, [echo('a')]);
    await bench.ended('bad');
    for (const runId of good) await bench.ended(runId);
    expect(bench.story('bad').at(-1)).toBe('FAILED');
    for (const runId of good) expect(bench.story(runId).at(-1)).toBe('COMPLETED');
  });
});

describe('results that wait for the store', () => {
  it('are bounded over all runs: one that has no room is run again', async () => {
    const bench = await RunBench.open({ host: echoing(), maxResultBytes: 200 });
    await bench.start(REF, [echo('a', 'x'.repeat(500))]);
    await bench.ended('r');
    expect(bench.events.at(-1)).toMatchObject({ status: 'FAILED', code: 'SANDBOX_UNAVAILABLE' });
    await bench.start({ flowId: 'f', runId: 'small' }, [echo('a', 'x'), echo('b', 'a.text'), echo('c', 'b.text')]);
    await bench.ended('small');
    expect(bench.story('small').at(-1)).toBe('COMPLETED');
  });
});
