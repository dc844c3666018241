/**
 * The contract of RunStore (engine/store/run-store.ts), run on every implementation. Each case takes its own store and
 * run ids; nothing here knows how a store keeps its data.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Ownership, RunPatch, RunRef, RunStore } from '../../engine/store/run-store.ts';
import { type StateFormat, StoreUnavailable } from '../../engine/store/run-store.ts';
import { handOverContract } from './run-store-hand-over.ts';

export interface OpenStore {
  readonly store: RunStore;
  /** Whether a note given on one connection is heard on another one. */
  readonly notesReachOthers: boolean;
  /** Another connection to the same data, as another engine would have it. */
  openSecond(options?: { readonly format: StateFormat }): Promise<RunStore>;
  dispose(): Promise<void>;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const RUN: RunRef = { flowId: 'flow-1', runId: 'run.1' };
const OTHER: RunRef = { flowId: 'flow-1', runId: 'run.2' };
const START: RunPatch & { readonly definition: string } = {
  definition: '{"steps":[]}',
  meta: { status: 'RUNNING' },
  events: ['e1', 'e2'],
};

export function runStoreContract(name: string, open: () => Promise<OpenStore>): void {
  describe(`${name}, for a change of owner`, () => handOverContract(open));
  describe(name, () => {
    let opened: OpenStore;
    let store: RunStore;
    let owner: Ownership;

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
      owner = await store.openPartition('0');
    });
    afterEach(() => opened.dispose());

    describe('a partition', () => {
      it('gets a higher epoch at every opening, at least the clock', async () => {
        const before = await store.clock();
        const first = await store.openPartition('7');
        const second = await store.openPartition('7');
        expect(first.partition).toBe('7');
        expect(first.epoch).toBeGreaterThanOrEqual(before);
        expect(second.epoch).toBeGreaterThan(first.epoch);
      });

      it('is listed once it was opened, and not because of others', async () => {
        await store.openPartition('embedded-1');
        expect([...(await store.partitions())].sort()).toEqual(['0', 'embedded-1']);
      });

      it('has no runs at first', async () => {
        expect(await store.activeRuns('0')).toEqual([]);
        expect(await store.activeRuns('never-opened')).toEqual([]);
      });

      it('opened twice at once gives two different epochs', async () => {
        const second = await opened.openSecond();
        const [a, b] = await Promise.all([store.openPartition('3'), second.openPartition('3')]);
        expect(a.epoch).not.toBe(b.epoch);
        await second.close();
      });

      it('gives its runs in the order of their creation', async () => {
        const runs = Array.from({ length: 12 }, (_, index) => ({ flowId: 'f', runId: `r${index % 2}-${index}` }));
        for (const run of runs) {
          await store.create(run, owner, START);
          // The order is that of the store's clock, in ms.
          for (const until = (await store.clock()) + 1; (await store.clock()) < until; );
        }
        expect(await store.activeRuns('0')).toEqual(runs);
      });

      it('with a name that would make keys ambiguous is refused', async () => {
        await expect(async () => store.openPartition('1}:x')).rejects.toThrow(RangeError);
      });
    });

    describe('create', () => {
      it('writes the run as revision 1 with its events from sequence 1', async () => {
        expect(await store.create(RUN, owner, { ...START, steps: { a: 'A' }, outputs: { 'a.x': '1' } })).toEqual({
          result: 'created',
        });
        expect(await store.read(RUN)).toEqual({
          meta: {
            format: 1,
            partition: '0',
            epoch: owner.epoch,
            revision: 1,
            outboxHead: 1,
            fields: { status: 'RUNNING' },
          },
          definition: '{"steps":[]}',
          steps: new Map([['a', 'A']]),
          outbox: ['e1', 'e2'],
        });
        expect(await store.readAllOutputs(RUN)).toEqual(new Map([['a.x', '1']]));
        expect(await store.activeRuns('0')).toEqual([RUN]);
      });

      it('of a run that exists changes nothing and shows what is there', async () => {
        await store.create(RUN, owner, START);
        const again = await store.create(RUN, owner, { definition: 'other', meta: { status: 'X' }, events: ['z'] });
        expect(again).toMatchObject({
          result: 'exists',
          definition: START.definition,
          meta: { revision: 1, fields: { status: 'RUNNING' } },
        });
        expect((await store.read(RUN))?.outbox).toEqual(['e1', 'e2']);
      });

      it('of a run that exists in another home leaves no entry in the second index', async () => {
        await store.create(RUN, owner, START);
        const elsewhere = await store.openPartition('1');
        expect(await store.create(RUN, elsewhere, START)).toMatchObject({ result: 'exists', meta: { partition: '0' } });
        expect(await store.activeRuns('1')).toEqual([]);
        expect(await store.activeRuns('0')).toEqual([RUN]);
      });

      it('by two owners at once makes one run', async () => {
        const second = await opened.openSecond();
        const results = await Promise.all([
          store.create(RUN, owner, { definition: 'a' }),
          second.create(RUN, owner, { definition: 'b' }),
        ]);
        expect(results.map(({ result }) => result).sort()).toEqual(['created', 'exists']);
        await second.close();
      });

      it('can begin its sequences later, for a run that the store forgot', async () => {
        await store.create(RUN, owner, { ...START, outboxFrom: 41 });
        expect(await store.read(RUN)).toMatchObject({ meta: { outboxHead: 41 }, outbox: ['e1', 'e2'] });
        await store.commit(RUN, owner.epoch, 1, { events: ['e3'], acknowledged: 42 });
        expect(await store.read(RUN)).toMatchObject({ meta: { outboxHead: 43 }, outbox: ['e3'] });
      });

      it('refuses meta names that are the store’s own', async () => {
        await expect(async () => store.create(RUN, owner, { ...START, meta: { _epoch: '1' } })).rejects.toThrow(
          RangeError,
        );
        expect(await store.read(RUN)).toBeUndefined();
      });

      it('refuses ids that would make keys ambiguous', async () => {
        for (const runId of ['a:b', 'a}b', '', '*'.repeat(2), 'x'.repeat(129)]) {
          await expect(async () => store.create({ flowId: 'f', runId }, owner, START)).rejects.toThrow(RangeError);
        }
      });
    });

    describe('a stop mark', () => {
      it('makes the START that meets it end without a run', async () => {
        await store.markStopped(RUN, 60_000);
        expect(await store.read(RUN)).toBeUndefined();
        expect(await store.create(RUN, owner, START)).toEqual({ result: 'stop-marked' });
        expect(await store.read(RUN)).toBeUndefined();
        expect(await store.activeRuns('0')).toEqual([]);
      });

      it('is passed by on demand, and then gone', async () => {
        await store.markStopped(RUN, 60_000);
        expect(await store.create(RUN, owner, START, { ignoreStopMark: true })).toEqual({ result: 'created' });
        expect(await store.create(RUN, owner, START)).toMatchObject({ result: 'exists' });
      });

      it('lapses', async () => {
        await store.markStopped(RUN, 0);
        expect(await store.create(RUN, owner, START)).toEqual({ result: 'created' });
      });

      it('is not shortened by a later one', async () => {
        await store.markStopped(RUN, 60_000);
        await store.markStopped(RUN, 0);
        expect(await store.create(RUN, owner, START)).toEqual({ result: 'stop-marked' });
      });

      it('does nothing to a run that exists', async () => {
        await store.create(RUN, owner, START);
        const before = await store.read(RUN);
        await store.markStopped(RUN, 0);
        expect(await store.read(RUN)).toEqual(before);
      });

      it('stays when the run was looked for meanwhile', async () => {
        await store.markStopped(RUN, 60_000);
        expect(await store.claim(RUN, owner)).toEqual({ result: 'missing' });
        expect(await store.create(RUN, owner, START)).toEqual({ result: 'stop-marked' });
      });
    });

    describe('commit', () => {
      beforeEach(() => store.create(RUN, owner, START));

      it('writes every part of a patch and counts the revision', async () => {
        const patch: RunPatch = {
          meta: { status: 'DONE', extra: '' },
          steps: { a: 'A2', b: 'B' },
          outputs: { 'a.x': '{"n":1}', 'a.y': '"ü\\u0000"' },
          events: ['e3'],
          acknowledged: 1,
          definition: 'D2',
        };
        expect(await store.commit(RUN, owner.epoch, 1, patch)).toEqual({ result: 'ok' });
        expect(await store.read(RUN)).toEqual({
          meta: {
            format: 1,
            partition: '0',
            epoch: owner.epoch,
            revision: 2,
            outboxHead: 2,
            fields: { status: 'DONE', extra: '' },
          },
          definition: 'D2',
          steps: new Map([
            ['a', 'A2'],
            ['b', 'B'],
          ]),
          outbox: ['e2', 'e3'],
        });
        expect(await store.readOutputs(RUN, ['a.y', 'none.z', 'a.x'])).toEqual(
          new Map([
            ['a.y', '"ü\\u0000"'],
            ['a.x', '{"n":1}'],
          ]),
        );
      });

      it('of an empty patch counts the revision and changes nothing else', async () => {
        const before = await store.read(RUN);
        expect(await store.commit(RUN, owner.epoch, 1, {})).toEqual({ result: 'ok' });
        expect(await store.read(RUN)).toEqual({ ...before, meta: { ...before?.meta, revision: 2 } });
      });

      it('repeated because its answer was lost is ok and happens once', async () => {
        const patch: RunPatch = { events: ['e3'], acknowledged: 2, steps: { a: 'A' } };
        await store.commit(RUN, owner.epoch, 1, patch);
        const after = await store.read(RUN);
        expect(await store.commit(RUN, owner.epoch, 1, patch)).toEqual({ result: 'ok' });
        expect(await store.read(RUN)).toEqual(after);
      });

      it('repeated after later ones is ok and happens once', async () => {
        for (const revision of [1, 2, 3]) await store.commit(RUN, owner.epoch, revision, { events: [`r${revision}`] });
        const after = await store.read(RUN);
        for (const revision of [1, 2, 3]) {
          expect(await store.commit(RUN, owner.epoch, revision, { events: ['again'] })).toEqual({ result: 'ok' });
        }
        expect(await store.read(RUN)).toEqual(after);
      });

      it('that names a revision from before its epoch is fenced', async () => {
        await store.commit(RUN, owner.epoch, 1, {});
        const next = await store.openPartition('0');
        await store.claim(RUN, next);
        expect(await store.commit(RUN, next.epoch, 1, { meta: { status: 'X' } })).toEqual({ result: 'fenced' });
        expect((await store.read(RUN))?.meta.fields).toEqual({ status: 'RUNNING' });
      });

      it('that follows a revision the store does not have is told how far the store is', async () => {
        const before = await store.read(RUN);
        expect(await store.commit(RUN, owner.epoch, 5, { events: ['x'] })).toEqual({ result: 'behind', revision: 1 });
        expect(await store.read(RUN)).toEqual(before);
      });

      it('under an epoch the store forgot brings the epoch back', async () => {
        const next = await store.openPartition('0');
        expect(await store.commit(RUN, next.epoch, 1, { events: ['x'] })).toEqual({ result: 'ok' });
        expect(await store.read(RUN)).toMatchObject({ meta: { epoch: next.epoch, revision: 2 } });
        expect(await store.commit(RUN, owner.epoch, 2, {})).toEqual({ result: 'fenced' });
        expect(await store.commit(RUN, next.epoch, 1, { events: ['x'] })).toEqual({ result: 'ok' });
        expect((await store.read(RUN))?.outbox).toEqual(['e1', 'e2', 'x']);
      });

      it('under an epoch the store forgot is fenced by what somebody else wrote meanwhile', async () => {
        const next = await store.openPartition('0');
        await store.commit(RUN, owner.epoch, 1, { meta: { by: 'former' } });
        expect(await store.commit(RUN, next.epoch, 1, { meta: { by: 'next' } })).toEqual({ result: 'fenced' });
      });

      it('can write a run whole, with the sequences that were published already', async () => {
        const whole: RunPatch = { definition: 'D', steps: { a: 'A' }, events: ['e7', 'e8'], outboxFrom: 7 };
        expect(await store.commit(RUN, owner.epoch, 1, whole)).toEqual({ result: 'ok' });
        expect(await store.read(RUN)).toMatchObject({
          meta: { revision: 2, outboxHead: 7 },
          definition: 'D',
          outbox: ['e7', 'e8'],
        });
      });

      it('of a run that is not there is missing', async () => {
        expect(await store.commit(OTHER, owner.epoch, 1, {})).toEqual({ result: 'missing' });
        expect(await store.read(OTHER)).toBeUndefined();
      });

      it('acknowledging beyond the end empties the outbox and loses no later event', async () => {
        await store.commit(RUN, owner.epoch, 1, { acknowledged: 1_000, events: ['e3'] });
        expect(await store.read(RUN)).toMatchObject({ meta: { outboxHead: 3 }, outbox: ['e3'] });
        await store.commit(RUN, owner.epoch, 2, { acknowledged: 3 });
        expect(await store.read(RUN)).toMatchObject({ meta: { outboxHead: 4 }, outbox: [] });
        await store.commit(RUN, owner.epoch, 3, { events: ['e4'] });
        expect(await store.read(RUN)).toMatchObject({ meta: { outboxHead: 4 }, outbox: ['e4'] });
      });

      it('acknowledging what has left the outbox already changes nothing', async () => {
        await store.commit(RUN, owner.epoch, 1, { acknowledged: 2 });
        await store.commit(RUN, owner.epoch, 2, { acknowledged: 1, events: ['e3'] });
        expect(await store.read(RUN)).toMatchObject({ meta: { outboxHead: 3 }, outbox: ['e3'] });
      });

      it('takes names that look like an object’s own', async () => {
        const own = '__proto__';
        await store.commit(RUN, owner.epoch, 1, {
          steps: { [own]: 'S', constructor: 'C' },
          outputs: { [`${own}.x`]: '1' },
        });
        const run = await store.read(RUN);
        expect([...(run?.steps ?? [])].sort()).toEqual([
          ['__proto__', 'S'],
          ['constructor', 'C'],
        ]);
        expect([...(await store.readAllOutputs(RUN))]).toEqual([['__proto__.x', '1']]);
      });

      it('by two owners at once happens for the one whose epoch holds', async () => {
        const second = await opened.openSecond();
        const next = await second.openPartition('0');
        const [claimed, late] = await Promise.all([
          second.claim(RUN, next),
          store.commit(RUN, owner.epoch, 1, { events: ['late'], meta: { by: 'former' } }),
        ]);
        const run = await store.read(RUN);
        expect(claimed.result).toBe('claimed');
        expect(['ok', 'fenced']).toContain(late.result);
        expect(run?.meta.fields.by).toBe(late.result === 'ok' ? 'former' : undefined);
        expect(await store.commit(RUN, owner.epoch, 2, { meta: { by: 'former' } })).toEqual({ result: 'fenced' });
        await second.close();
      });

      it('keeps 200 runs apart that commit in one tick, some of them refused', async () => {
        const runs = Array.from({ length: 200 }, (_, index) => ({ flowId: 'many', runId: `r${index}` }));
        await Promise.all(runs.map((run) => store.create(run, owner, START)));
        const results = await Promise.all(
          runs.map((run, index) =>
            store.commit(run, owner.epoch, index % 3 === 0 ? 9 : 1, { meta: { n: `${index}` } }),
          ),
        );
        for (const [index, run] of runs.entries()) {
          const isRefused = index % 3 === 0;
          expect(results[index]?.result).toBe(isRefused ? 'behind' : 'ok');
          expect((await store.read(run))?.meta.fields.n).toBe(isRefused ? undefined : `${index}`);
        }
      });
    });

    describe('claim', () => {
      it('gives the run as it is and raises its epoch', async () => {
        await store.create(RUN, owner, { ...START, steps: { a: 'A' }, outputs: { 'a.x': '1' } });
        const next = await store.openPartition('0');
        const claimed = await store.claim(RUN, next);
        expect(claimed).toMatchObject({ result: 'claimed', run: { meta: { epoch: next.epoch, revision: 1 } } });
        expect(claimed).toEqual({ result: 'claimed', run: { ...(await store.read(RUN)), notes: [] } });
      });

      it('repeated changes nothing', async () => {
        await store.create(RUN, owner, START);
        await store.commit(RUN, owner.epoch, 1, { meta: { n: '1' } });
        expect(await store.claim(RUN, owner)).toEqual(await store.claim(RUN, owner));
        expect(await store.commit(RUN, owner.epoch, 1, { meta: { n: '2' } })).toEqual({ result: 'ok' });
        expect((await store.read(RUN))?.meta.fields.n).toBe('1');
      });

      it('of a run that is not there is missing', async () => {
        expect(await store.claim(RUN, owner)).toEqual({ result: 'missing' });
        expect(await store.read(RUN)).toBeUndefined();
      });

      it('by the owner of another partition is fenced', async () => {
        await store.create(RUN, owner, START);
        const elsewhere = await store.openPartition('1');
        expect(await store.claim(RUN, elsewhere)).toEqual({ result: 'fenced' });
        expect(await store.commit(RUN, owner.epoch, 1, {})).toEqual({ result: 'ok' });
      });

      it('of an unknown run in one partition hinders no START in another', async () => {
        const elsewhere = await store.openPartition('1');
        await store.claim(RUN, await store.openPartition('0'));
        expect(await store.create(RUN, elsewhere, START)).toEqual({ result: 'created' });
      });
    });

    describe('a former owner', () => {
      let next: Ownership;
      beforeEach(async () => {
        await store.create(RUN, owner, START);
        next = await store.openPartition('0');
        await store.claim(RUN, next);
      });

      it('is refused by every method that writes, and changes nothing', async () => {
        const before = await store.read(RUN);
        expect(await store.commit(RUN, owner.epoch, 1, { meta: { x: '1' }, events: ['x'] })).toEqual({
          result: 'fenced',
        });
        expect(await store.claim(RUN, owner)).toEqual({ result: 'fenced' });
        expect(await store.retire(RUN, owner, 0)).toBe('fenced');
        expect(await store.create(OTHER, owner, START)).toEqual({ result: 'fenced' });
        expect(await store.create(RUN, owner, START)).toEqual({ result: 'fenced' });
        expect(await store.read(RUN)).toEqual(before);
        expect(await store.read(OTHER)).toBeUndefined();
        expect(await store.activeRuns('0')).toEqual([RUN]);
      });

      it('that repeats its create takes nothing away from the run', async () => {
        await store.create(OTHER, next, START);
        const before = await store.read(OTHER);
        await store.openPartition('0');
        expect(await store.create(OTHER, next, START)).toEqual({ result: 'fenced' });
        expect(await store.read(OTHER)).toEqual(before);
        expect(await store.activeRuns('0')).toContainEqual(OTHER);
      });

      it('cannot let a run go that the new owner has not claimed yet', async () => {
        await store.retire(RUN, next, DAY_MS);
        await store.create(OTHER, next, { ...START, outputs: { 'a.x': '1' } });
        const before = await store.read(OTHER);
        await store.openPartition('0');
        expect(await store.retire(OTHER, next, 0)).toBe('fenced');
        expect(await store.read(OTHER)).toEqual(before);
        expect(await store.readAllOutputs(OTHER)).toEqual(new Map([['a.x', '1']]));
        expect(await store.commit(OTHER, next.epoch, 1, {})).toEqual({ result: 'ok' });
      });

      it('cannot take out of the index what the new owner dropped and made again', async () => {
        await store.retire(RUN, next, DAY_MS);
        await store.create(OTHER, next, START);
        expect(await store.retire(OTHER, owner, 0)).toBe('fenced');
        expect(await store.activeRuns('0')).toEqual([OTHER]);
      });
    });

    describe('retire', () => {
      beforeEach(() => store.create(RUN, owner, START));

      it('takes the run out of the index and keeps it readable for the retention', async () => {
        expect(await store.retire(RUN, owner, DAY_MS)).toBe('ok');
        expect(await store.activeRuns('0')).toEqual([]);
        expect(await store.read(RUN)).toMatchObject({ definition: START.definition, outbox: ['e1', 'e2'] });
        expect(await store.create(RUN, owner, START)).toMatchObject({ result: 'exists' });
        expect(await store.activeRuns('0')).toEqual([]);
      });

      it('without retention leaves meta for the repeated START, and nothing else', async () => {
        await store.commit(RUN, owner.epoch, 1, { outputs: { 'a.x': '1' }, steps: { a: 'A' } });
        await store.retire(RUN, owner, 0);
        expect(await store.create(RUN, owner, START)).toMatchObject({
          result: 'exists',
          definition: '',
          meta: { revision: 2, fields: { status: 'RUNNING' } },
        });
        expect(await store.read(RUN)).toMatchObject({ definition: '', steps: new Map(), outbox: [] });
        expect(await store.readAllOutputs(RUN)).toEqual(new Map());
        expect(await store.readOutputs(RUN, ['a.x'])).toEqual(new Map());
      });

      it('is idempotent, also for a run that is not there', async () => {
        expect(await store.retire(RUN, owner, DAY_MS)).toBe('ok');
        expect(await store.retire(RUN, owner, DAY_MS)).toBe('ok');
        expect(await store.retire(OTHER, owner, DAY_MS)).toBe('ok');
        expect(await store.read(OTHER)).toBeUndefined();
      });

      it('is followed by no commit, but a repeated one is still ok', async () => {
        await store.commit(RUN, owner.epoch, 1, { meta: { n: '1' } });
        await store.retire(RUN, owner, DAY_MS);
        expect(await store.commit(RUN, owner.epoch, 2, { meta: { n: '2' } })).toEqual({ result: 'missing' });
        expect(await store.commit(RUN, owner.epoch, 1, { meta: { n: '2' } })).toEqual({ result: 'ok' });
        expect((await store.read(RUN))?.meta.fields.n).toBe('1');
      });

      it('is undone by a claim, which puts the run back into the index', async () => {
        await store.retire(RUN, owner, DAY_MS);
        expect(await store.claim(RUN, owner)).toMatchObject({ result: 'claimed', run: { outbox: ['e1', 'e2'] } });
        expect(await store.activeRuns('0')).toEqual([RUN]);
        expect(await store.commit(RUN, owner.epoch, 1, { events: ['e3'] })).toEqual({ result: 'ok' });
        expect(await store.retire(RUN, owner, DAY_MS)).toBe('ok');
        expect(await store.activeRuns('0')).toEqual([]);
      });

      it('can be claimed when only meta is left', async () => {
        await store.commit(RUN, owner.epoch, 1, { acknowledged: 2 });
        await store.retire(RUN, owner, 0);
        expect(await store.claim(RUN, owner)).toMatchObject({
          result: 'claimed',
          run: { definition: '', outbox: [], meta: { outboxHead: 3 } },
        });
        expect(await store.commit(RUN, owner.epoch, 2, { events: ['e3'] })).toEqual({ result: 'ok' });
        expect(await store.read(RUN)).toMatchObject({ meta: { outboxHead: 3 }, outbox: ['e3'] });
      });
    });

    describe('size', () => {
      it('is no obstacle: 10,000 steps in one create and in one commit', async () => {
        const steps = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`step-${index}`, `r${index}`]));
        const events = Array.from({ length: 10_000 }, (_, index) => `event-${index}`);
        await store.create(RUN, owner, { definition: 'x'.repeat(2_000_000), steps, events });
        expect(await store.commit(RUN, owner.epoch, 1, { steps, events, acknowledged: 10_000 })).toEqual({
          result: 'ok',
        });
        const run = await store.read(RUN);
        expect(run?.steps.size).toBe(10_000);
        expect(run?.meta.outboxHead).toBe(10_001);
        expect(run?.outbox).toEqual(events);
      });

      it('is no obstacle: outputs of 16 MiB, byte for byte', async () => {
        const big = `"${'ä€😀'.repeat(1_000_000)}${'x'.repeat(7_000_000)}"`;
        await store.create(RUN, owner, START);
        await store.commit(RUN, owner.epoch, 1, { outputs: { 'a.big': big, 'a.small': '1' } });
        expect((await store.readOutputs(RUN, ['a.big'])).get('a.big') === big).toBe(true);
      });

      it('of the rest of the run is not in the price of a commit', async () => {
        const steps = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`step-${index}`, 'r']));
        await store.create(RUN, owner, { definition: 'D', steps });
        await store.create(OTHER, owner, { definition: 'D', steps: { a: 'r' } });
        // Interleaved medians: whatever else the machine does hits both. Ten times is far beyond noise, far below O(n).
        const large: number[] = [];
        const small: number[] = [];
        for (let revision = 1; revision <= 100; revision++) {
          large.push(await timeMs(() => store.commit(RUN, owner.epoch, revision, { steps: { 'step-5': 'x' } })));
          small.push(await timeMs(() => store.commit(OTHER, owner.epoch, revision, { steps: { a: 'x' } })));
        }
        expect(median(large)).toBeLessThan(10 * median(small));
      });
    });

    describe('close', () => {
      it('is idempotent, and later calls are refused', async () => {
        await store.create(RUN, owner, START);
        await store.close();
        await store.close();
        await expect(store.commit(RUN, owner.epoch, 1, {})).rejects.toBeInstanceOf(StoreUnavailable);
        await expect(store.read(RUN)).rejects.toBeInstanceOf(StoreUnavailable);
        await expect(store.openPartition('0')).rejects.toBeInstanceOf(StoreUnavailable);
      });

      it('loses nothing that was asked for before it', async () => {
        await store.create(RUN, owner, START);
        const second = await opened.openSecond();
        const pending = second.commit(RUN, owner.epoch, 1, { meta: { n: '1' } });
        await second.close();
        expect(await pending).toEqual({ result: 'ok' });
        expect((await store.read(RUN))?.meta.fields.n).toBe('1');
      });
    });
  });
}

async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
