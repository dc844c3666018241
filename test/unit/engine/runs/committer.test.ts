/** A store that went back in time is given again what it lost: partition, creating write, commits, in this order. */

import type { RunStore } from '@flowops/engine/store/run-store.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { describe, expect, it } from 'vitest';
import { HandClock, settle } from '../../../support/hand-clock.ts';
import { RunBench } from '../../../support/run-bench.ts';

const REF = { flowId: 'f', runId: 'r' };
const echo = (stepId: string, text?: string) => ({
  stepId,
  pluginId: 'test.echo',
  inputs: text === undefined ? {} : { text },
});

/** Writes late, as a Redis with everysec does: it may come back as it was a moment ago. */
class ForgetfulStore {
  #store: RunStore = openSqliteStore({ file: ':memory:' });
  readonly durability = { description: 'forgetful', delayMs: 2_500 };

  /** Nothing is left of it. */
  forgetAll(): void {
    this.#store = openSqliteStore({ file: ':memory:' });
  }

  /** What a caller sees as one store. */
  static open(): { store: RunStore; forgetAll: () => void } {
    const forgetful = new ForgetfulStore();
    const store = new Proxy({} as RunStore, {
      get: (_, name) => {
        if (name === 'durability') return forgetful.durability;
        const value: unknown = Reflect.get(forgetful.#store, name);
        return typeof value === 'function' ? value.bind(forgetful.#store) : value;
      },
    });
    return { store, forgetAll: () => forgetful.forgetAll() };
  }
}

describe('a store that lost everything', () => {
  it('gets the runs again whole, with their index, and the run goes on as if nothing had been', async () => {
    const { store, forgetAll } = ForgetfulStore.open();
    const bench = await RunBench.open({ store, clock: new HandClock() });
    await bench.start(REF, [echo('a', 'one'), echo('b', 'a.text')]);
    await bench.host.started(1);
    const other = { flowId: 'f', runId: 'other' };
    await bench.start(other, [echo('a')]);
    await bench.host.started(2);
    await settle();
    forgetAll();
    bench.host.attempts[0]?.complete({ text: 'one' });
    await bench.host.started(3);
    await settle();
    expect(await store.activeRuns('0')).toEqual(expect.arrayContaining([REF, other]));
    expect((await store.read(other))?.meta.fields.status).toBe('RUNNING');
    expect((await store.readAllOutputs(REF)).get('a.text')).toBe('"one"');
    bench.host.attempts[2]?.complete({ text: 'two' });
    await settle();
    expect(bench.story('r')).toEqual(['RUNNING', 'a RUNNING', 'a COMPLETED', 'b RUNNING', 'b COMPLETED', 'COMPLETED']);
    expect(bench.events.filter(({ runId }) => runId === 'r').map(({ sequence }) => sequence)).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
    expect(bench.service.lostCount).toBe(0);
  });

  it('longer ago than it may lose is told as an error, and the run is counted as lost', async () => {
    const { store, forgetAll } = ForgetfulStore.open();
    const clock = new HandClock();
    const bench = await RunBench.open({ store, clock });
    await bench.start(REF, [echo('a'), echo('b', 'a.text')]);
    await bench.host.started(1);
    await settle();
    await clock.advance(60_000);
    bench.host.attempts[0]?.complete({ text: 'x' });
    await bench.host.started(2);
    await settle();
    forgetAll();
    bench.host.attempts[1]?.complete({ text: 'x' });
    await settle();
    expect(bench.service.lostCount).toBe(1);
    expect(bench.service.activeCount).toBe(0);
    expect(bench.isFinal('r')).toBe(false);
  });
});
