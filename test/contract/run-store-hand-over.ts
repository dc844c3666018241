/** The part of the RunStore contract that a change of owner needs: notes, lost partitions, two formats side by side. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  NOTE_MAX_BYTES,
  NOTES_MAX,
  type Ownership,
  type RunPatch,
  type RunRef,
  type RunStore,
} from '../../engine/store/run-store.ts';
import { skipBecause } from '../support/skip.ts';
import type { OpenStore } from './run-store.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const RUN: RunRef = { flowId: 'flow-1', runId: 'run.1' };
const OTHER: RunRef = { flowId: 'flow-1', runId: 'run.2' };
const START: RunPatch & { readonly definition: string } = { definition: '{"steps":[]}', events: ['e1'] };

/** Called by run-store.ts. */
export function handOverContract(open: () => Promise<OpenStore>): void {
  let opened: OpenStore;
  let store: RunStore;
  let owner: Ownership;

  beforeEach(async () => {
    opened = await open();
    store = opened.store;
    owner = await store.openPartition('0');
  });
  afterEach(() => opened.dispose());

  describe('a claim of a run that was let go', () => {
    beforeEach(async () => {
      await store.create(RUN, owner, START);
      await store.retire(RUN, owner, DAY_MS);
    });

    it('by a former owner is refused, and leaves the run as it was', async () => {
      const former = await store.openPartition('0');
      await store.openPartition('0');
      const before = await store.read(RUN);
      expect(await store.claim(RUN, former)).toEqual({ result: 'fenced' });
      expect(await store.read(RUN)).toEqual(before);
    });

    it('by the next owner gives it the new epoch', async () => {
      const next = await store.openPartition('0');
      expect(await store.claim(RUN, next)).toMatchObject({ run: { meta: { epoch: next.epoch, revision: 1 } } });
      expect(await store.read(RUN)).toMatchObject({ meta: { epoch: next.epoch } });
      expect(await store.commit(RUN, owner.epoch, 1, {})).toEqual({ result: 'fenced' });
      expect(await store.commit(RUN, next.epoch, 1, {})).toEqual({ result: 'ok' });
    });
  });

  describe('a note', () => {
    beforeEach(() => store.create(RUN, owner, START));

    it('is kept for the owner, whoever writes it, and shown to the next one, oldest first', async () => {
      const second = await opened.openSecond();
      await second.note(RUN, '0', 'first');
      await store.note(RUN, '0', 'ü "second"\nline');
      const expected = ['first', 'ü "second"\nline'];
      expect(await store.notes(RUN)).toEqual(expected);
      expect(await second.claim(RUN, await second.openPartition('0'))).toMatchObject({ run: { notes: expected } });
      expect(await store.notes(RUN)).toEqual(expected);
      await second.close();
    });

    it('changes neither the run nor its revision', async () => {
      const before = await store.read(RUN);
      await store.note(RUN, '0', 'x');
      expect(await store.read(RUN)).toEqual(before);
      expect(await store.commit(RUN, owner.epoch, 1, {})).toEqual({ result: 'ok' });
    });

    it('for a run that is not there, or let go, leaves nothing', async () => {
      await store.note(OTHER, '0', 'x');
      expect(await store.notes(OTHER)).toEqual([]);
      await store.create(OTHER, owner, START);
      expect(await store.notes(OTHER)).toEqual([]);
      await store.retire(RUN, owner, DAY_MS);
      await store.note(RUN, '0', 'late');
      expect(await store.notes(RUN)).toEqual([]);
    });

    it('is bounded in size and number: the newest stay', async () => {
      await expect(async () => store.note(RUN, '0', 'x'.repeat(NOTE_MAX_BYTES + 1))).rejects.toThrow(RangeError);
      const texts = Array.from({ length: NOTES_MAX + 5 }, (_, index) => `${index}`);
      await Promise.all(texts.map((text) => store.note(RUN, '0', text)));
      expect(await store.notes(RUN)).toEqual(texts.slice(5));
    });

    it('is gone with the run', async () => {
      await store.note(RUN, '0', 'x');
      await store.retire(RUN, owner, 0);
      expect(await store.notes(RUN)).toEqual([]);
    });

    it('is heard where its partition is open, until that is closed', async () => {
      const heard: string[] = [];
      const next = () => new Promise<void>((resolve) => (wake = resolve));
      let wake = () => {};
      const off = store.onNote((run, text) => {
        heard.push(`${run.flowId}/${run.runId} ${text}`);
        wake();
      });
      const teller = opened.notesReachOthers ? await opened.openSecond() : store;
      const hearing = next();
      await teller.note(RUN, '0', 'a\nb');
      await hearing;
      expect(heard).toEqual(['flow-1/run.1 a\nb']);

      await store.openPartition('1');
      await store.closePartition('0');
      await store.closePartition('0');
      const elsewhere = await store.openPartition('1');
      await store.create(OTHER, elsewhere, START);
      await teller.note(RUN, '0', 'not heard');
      const hearingAgain = next();
      await teller.note(OTHER, '1', 'c');
      await hearingAgain;
      expect(heard).toEqual(['flow-1/run.1 a\nb', 'flow-1/run.2 c']);
      off();
      if (teller !== store) await teller.close();
    });
  });

  describe('an opening', () => {
    it('gives no two partitions the same epoch', async () => {
      const names = Array.from({ length: 64 }, (_, index) => `${index}`);
      const owners = await Promise.all(names.map((name) => store.openPartition(name)));
      expect(new Set(owners.map(({ epoch }) => epoch)).size).toBe(64);
    });

    it('by somebody else is told to who has the partition open, and its own is not', async (context) => {
      if (!opened.notesReachOthers) skipBecause(context, 'a store in a file tells nothing to other processes');
      const second = await opened.openSecond();
      const told: Ownership[] = [];
      const taken = new Promise<void>((resolve) => {
        store.onTaken((by) => {
          told.push(by);
          resolve();
        });
      });
      await store.openPartition('0');
      await second.openPartition('1');
      const next = await second.openPartition('0');
      await taken;
      expect(told).toEqual([next]);
      await second.close();
    });
  });

  describe('a partition of a store that went back in time', () => {
    it('gets its epoch and its runs again, in their order', async () => {
      const runs = [RUN, OTHER];
      for (const run of runs) await store.create(run, owner, START);
      const later = { partition: '0', epoch: owner.epoch + 10 };
      expect(await store.restorePartition(later, runs)).toBe('ok');
      expect(await store.restorePartition(later, runs)).toBe('ok');
      expect(await store.activeRuns('0')).toEqual(runs);
      expect((await store.openPartition('0')).epoch).toBeGreaterThan(later.epoch);
    });

    it('that somebody else opened meanwhile is not touched', async () => {
      await store.create(RUN, owner, START);
      const next = await store.openPartition('0');
      expect(await store.restorePartition(owner, [OTHER])).toBe('fenced');
      expect(await store.activeRuns('0')).toEqual([RUN]);
      expect(await store.create(OTHER, next, START)).toEqual({ result: 'created' });
    });

    it('without runs gets its epoch', async () => {
      const later = { partition: '0', epoch: owner.epoch + 10 };
      expect(await store.restorePartition(later, [])).toBe('ok');
      expect(await store.create(RUN, owner, START)).toEqual({ result: 'fenced' });
    });
  });

  describe('the format', () => {
    it('of new runs is the older one unless the newer one is asked for', async () => {
      expect(store.format).toBe(1);
      await store.create(RUN, owner, START);
      expect(await store.read(RUN)).toMatchObject({ meta: { format: 1 } });
    });

    it('is each run’s own and stays: two engines of different formats take up each other’s runs', async () => {
      const newer = await opened.openSecond({ format: 2 });
      expect(newer.format).toBe(2);
      await store.create(RUN, owner, START);
      await newer.create(OTHER, owner, START);
      const next = await newer.openPartition('0');
      expect(await newer.claim(RUN, next)).toMatchObject({ result: 'claimed', run: { meta: { format: 1 } } });
      expect(await newer.commit(RUN, next.epoch, 1, { steps: { a: 'A' } })).toEqual({ result: 'ok' });
      expect(await newer.read(RUN)).toMatchObject({ meta: { format: 1 } });
      const last = await store.openPartition('0');
      expect(await store.claim(OTHER, last)).toMatchObject({ result: 'claimed', run: { meta: { format: 2 } } });
      expect(await store.commit(OTHER, last.epoch, 1, { steps: { a: 'A' } })).toEqual({ result: 'ok' });
      expect(await store.read(OTHER)).toMatchObject({ meta: { format: 2 } });
      await newer.close();
    });
  });
}
