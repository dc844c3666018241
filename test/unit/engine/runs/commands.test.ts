/** Commands that come late, twice, out of order, or where the run is not at home (design 4.1, 4.3). */
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { describe, expect, it } from 'vitest';
import { HandClock, settle } from '../../../support/hand-clock.ts';
import { echoing, parsed, RunBench } from '../../../support/run-bench.ts';

const REF = { flowId: 'f', runId: 'r' };
const echo = (stepId: string, text?: string) => ({
  stepId,
  pluginId: 'test.echo',
  inputs: text === undefined ? {} : { text },
});
const START = { eventType: 'START', ...REF, steps: [echo('a'), echo('b', 'a.text')] };

/** An engine to which a group gave partitions; commands come as from Kafka. */
async function open(options: ConstructorParameters<typeof RunBench>[0] = {}) {
  const bench = new RunBench(options);
  await bench.service.partitionsAssigned([0, 1]);
  const take = (command: JsonObject, partition: number, offset: number, more: JsonObject = {}) => {
    const origin = { partition, offset: String(offset), recordTimeMs: Date.now(), ...more };
    return bench.service.take(parsed(command), origin);
  };
  const control = (eventType: string, offset: number, partition = 0, more: JsonObject = {}) =>
    take({ eventType, ...REF }, partition, offset, more);
  /** Outcomes told since the last call. */
  let seen = 0;
  const told = async () => {
    await settle();
    const outcomes = bench.outcomes.slice(seen).map(({ command, outcome, code }) => [command, outcome, code]);
    seen = bench.outcomes.length;
    return outcomes;
  };
  return { bench, take, control, told };
}

describe('a command on another partition than the home of its run', () => {
  it('is told where that is, and nothing happens, whether the run is in memory, in the store or over', async () => {
    const { bench, take, control, told } = await open();
    await take(START, 0, 5);
    await bench.host.started(1);
    await told();
    expect(await control('STOP', 3, 1)).toEqual({ home: '0' });
    expect(await take(START, 1, 4)).toEqual({ home: '0' });
    await bench.service.partitionsRevoked([0]);
    expect(await control('STOP', 3, 1)).toEqual({ home: '0' });
    expect(await take(START, 1, 4)).toEqual({ home: '0' });
    await bench.service.partitionsAssigned([0]);
    expect(await control('STOP', 6)).toBeUndefined();
    await bench.ended('r');
    await settle();
    expect(await control('STOP', 3, 1)).toEqual({ home: '0' });
    expect(await told()).toEqual([['STOP', 'ACCEPTED', null]]);
  });

  it('that was sent on twice counts once', async () => {
    const { bench, take, control, told } = await open();
    await take(START, 0, 5);
    await bench.host.started(1);
    await told();
    const first = { first: { partition: 1, offset: '9' } };
    await control('PAUSE', 6, 0, first);
    await control('RESUME', 7);
    await control('PAUSE', 8, 0, first);
    expect(await told()).toEqual([
      ['PAUSE', 'ACCEPTED', null],
      ['RESUME', 'ACCEPTED', null],
      ['PAUSE', 'ACCEPTED', null],
    ]);
    expect(bench.service.active(REF)?.state.status).toBe('RUNNING');
  });
});

describe('a command that is read again', () => {
  it('has no effect and the outcome it had, whatever that was', async () => {
    const { bench, take, control, told } = await open();
    await control('PAUSE', 3);
    await take(START, 0, 5);
    await bench.host.started(1);
    await control('RESUME', 6);
    await control('PAUSE', 7);
    await control('PAUSE', 8);
    await control('RESUME', 9);
    const before = await told();
    const events = bench.events.length;
    for (const [kind, offset] of [
      ['PAUSE', 3],
      ['RESUME', 6],
      ['PAUSE', 7],
      ['PAUSE', 8],
      ['RESUME', 9],
    ] as const) {
      await control(kind, offset);
    }
    await take(START, 0, 5);
    const again = await told();
    expect(again).toEqual([...before.filter(([kind]) => kind !== 'START'), ['START', 'ACCEPTED', null]]);
    expect(bench.events.length).toBe(events);
    expect(bench.service.active(REF)?.state.status).toBe('RUNNING');
  });

  it('gets the same outcome after another engine took over, and after the end', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const former = await open({ store });
    await former.take(START, 0, 5);
    await former.bench.host.started(1);
    await former.control('RESUME', 6);
    former.bench.kill();
    const { bench, take, control, told } = await open({ store, host: echoing() });
    await control('PAUSE', 7);
    await control('RESUME', 8);
    await bench.ended('r');
    await told();
    await take(START, 0, 5);
    await control('RESUME', 6);
    await control('PAUSE', 7);
    await control('STOP', 9);
    expect(await told()).toEqual([
      ['START', 'ACCEPTED', null],
      ['RESUME', 'DUPLICATE', null],
      ['PAUSE', 'ACCEPTED', null],
      ['STOP', 'REJECTED', 'RUN_FINAL'],
    ]);
  });

  it('gets the outcome of a refused START again', async () => {
    const { bench, take, told } = await open();
    const wrong = { eventType: 'START', ...REF, steps: [{ stepId: 'a', pluginId: 'test.nothing' }] };
    await take(wrong, 0, 5);
    await bench.ended('r');
    await told();
    await take(wrong, 0, 5);
    expect(await told()).toEqual([['START', 'REJECTED', 'FLOW_INVALID']]);
  });

  it('is not one when the topic was made anew and its offsets begin again', async () => {
    const { bench, take, control, told } = await open();
    await take(START, 0, 500);
    await bench.host.started(1);
    await told();
    await control('PAUSE', 0, 0, { recordTimeMs: Date.now() + 3_600_000 });
    expect(await told()).toEqual([['PAUSE', 'ACCEPTED', null]]);
    expect(bench.service.active(REF)?.state.status).toBe('PAUSED');
  });
});

describe('a run whose flow is being checked', () => {
  it('is paused, resumed and stopped at once, and begins as it was left', async () => {
    const { bench, take, control, told } = await open();
    const answer = bench.plugins.answer;
    const checked = Promise.withResolvers<void>();
    bench.plugins.answer = async (pluginId) => {
      await checked.promise;
      return answer(pluginId);
    };
    await take(START, 0, 5);
    await control('PAUSE', 6);
    await control('RESUME', 7);
    await control('PAUSE', 8);
    expect((await told()).map(([, outcome]) => outcome)).toEqual(['ACCEPTED', 'ACCEPTED', 'ACCEPTED']);
    expect(bench.events).toEqual([]);
    checked.resolve();
    await bench.until(() => bench.outcomes.some(({ quiescent }) => quiescent === true));
    expect(bench.story('r')).toEqual(['RUNNING', 'PAUSED']);
    expect(bench.host.attempts).toEqual([]);
    await control('STOP', 9);
    await bench.ended('r');
  });

  it('remembers a pause over a restart', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const former = await open({ store });
    former.bench.plugins.answer = () => new Promise(() => undefined);
    await former.take(START, 0, 5);
    await former.control('PAUSE', 6);
    former.bench.kill();
    const { bench } = await open({ store });
    await bench.until(() => bench.outcomes.some(({ quiescent }) => quiescent === true));
    expect(bench.story('r')).toEqual(['RUNNING', 'PAUSED']);
  });
});

describe('a partition', () => {
  it('that is opened again while this engine holds it has each run once', async () => {
    const { bench, take } = await open();
    await take(START, 0, 5);
    await bench.host.started(1);
    await bench.service.partitionsAssigned([0]);
    await bench.host.started(2);
    await settle();
    expect(bench.service.activeCount).toBe(1);
    bench.host.behaviour = (attempt) => attempt.complete({ text: 'x' });
    bench.host.attempts[1]?.complete({ text: 'x' });
    await bench.ended('r');
  });

  it('that was opened elsewhere while nothing was written to it is noticed when it is looked at, and opened again', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const clock = new HandClock();
    const { bench, take } = await open({ store, clock });
    await take(START, 0, 5);
    await bench.host.started(1);
    await settle();
    const late = await store.openPartition('0');
    await store.claim(REF, late);
    await bench.service.checkOwnership();
    expect(bench.service.active(REF)).toBeUndefined();
    await clock.advance(3_000);
    expect(bench.service.active(REF)?.owner.epoch).toBeGreaterThan(late.epoch);
  });

  it('is not opened while the group does not vouch for this engine', async () => {
    const bench = new RunBench({ standing: { isGood: false, onChange: () => () => undefined } });
    await expect(bench.service.partitionsAssigned([0])).rejects.toThrow('lost touch');
    expect(await bench.store.partitions()).toEqual([]);
  });

  it('that an engine which came too late has opened is opened again by the one that the group gave it to', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const clock = new HandClock();
    const { bench, take, control } = await open({ store, clock });
    await take(START, 0, 5);
    await bench.host.started(1);
    await settle();
    await store.claim(REF, await store.openPartition('0'));
    await expect(control('PAUSE', 6)).rejects.toThrow('taken over');
    await expect(control('PAUSE', 6)).rejects.toThrow('taken over');
    await clock.advance(3_000);
    await control('PAUSE', 6);
    await bench.until(() => bench.story('r').includes('PAUSED'));
  });

  /** A store whose answers to `activeRuns` wait until they are let go, one after the other. */
  function heldIndex() {
    const store = openSqliteStore({ file: ':memory:' });
    const waiting: (() => void)[] = [];
    const activeRuns = store.activeRuns.bind(store);
    let isHeld = false;
    store.activeRuns = async (partition) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      if (isHeld) waiting.push(resolve);
      else resolve();
      const refs = await activeRuns(partition);
      await promise;
      return refs;
    };
    const hold = () => {
      isHeld = true;
    };
    const release = async () => {
      isHeld = false;
      for (const answer of waiting.splice(0)) {
        answer();
        await settle();
      }
    };
    return { store, hold, release };
  }

  it('that is opened twice at once has its runs under the epoch by which it is held, and lets each go', async () => {
    const { store, hold, release } = heldIndex();
    const { bench, take } = await open({ store });
    await take(START, 0, 5);
    await bench.host.started(1);
    hold();
    const openings = [bench.service.openPartition('0'), bench.service.openPartition('0')];
    await settle();
    await release();
    await Promise.all(openings);
    bench.host.behaviour = (attempt) => attempt.complete({ text: 'x' });
    for (const attempt of bench.host.attempts) attempt.complete({ text: 'x' });
    await bench.ended('r');
    await settle();
    expect(await store.activeRuns('0')).toEqual([]);
  });

  it('that is revoked while it is opened again is not held afterwards', async () => {
    const { store, hold, release } = heldIndex();
    const clock = new HandClock();
    const { bench, take } = await open({ store, clock });
    await take(START, 0, 5);
    await bench.host.started(1);
    await settle();
    await store.claim(REF, await store.openPartition('0'));
    await bench.service.checkOwnership();
    hold();
    await clock.advance(3_000);
    await bench.service.partitionsRevoked([0]);
    const next = await store.openPartition('0');
    await release();
    await clock.advance(3_000);
    expect(bench.service.activeCount).toBe(0);
    expect(await store.restorePartition(next, [])).toBe('ok');
  });
});
