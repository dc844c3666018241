import { describe, expect, it } from 'vitest';
import type { ListedContainer } from '../../../../sandbox/container/docker-engine.ts';
import { belongingOf, labelsOf, type Owner, thisOwner } from '../../../../sandbox/container/labels.ts';
import { sweep } from '../../../../sandbox/container/sweep.ts';

const NOW = 1_000_000_000;
const SELF: Owner = { instance: 'host-self', place: 'boot/1', pid: 10, ticks: '100' };
const alive = new Set(['10:100', '20:200']);
const isAlive = (pid: number, ticks: string) => alive.has(`${pid}:${ticks}`);
const later = NOW + 60_000;

function belonging(owner: Partial<Owner>, deadlineMs = later) {
  return belongingOf(labelsOf({ ...SELF, instance: 'host-other', ...owner }, deadlineMs), SELF, NOW, isAlive);
}

describe('a container belongs', () => {
  it('to this host by its instance', () => {
    expect(belongingOf(labelsOf(SELF, later), SELF, NOW, isAlive)).toBe('own');
  });

  it('to a live host while that process runs', () => {
    expect(belonging({ pid: 20, ticks: '200' })).toBe('foreign');
  });

  it('to nobody once its process is gone, also when another has its pid now', () => {
    expect(belonging({ pid: 30, ticks: '300' })).toBe('orphan');
    expect(belonging({ pid: 20, ticks: '199' })).toBe('orphan');
  });

  it('to somebody else where its pid means nothing here: another machine, boot or pid namespace, or unknown', () => {
    expect(belonging({ place: 'boot/2', pid: 30, ticks: '300' })).toBe('foreign');
    expect(belonging({ place: undefined, pid: 30, ticks: undefined })).toBe('foreign');
  });

  it('to nobody, whoever made it, once its deadline and some margin are over', () => {
    expect(belonging({ place: 'boot/2' }, NOW - 30_000)).toBe('foreign');
    expect(belonging({ place: 'boot/2' }, NOW - 61_000)).toBe('orphan');
  });

  it('to somebody else when its labels cannot be read', () => {
    expect(belongingOf({}, SELF, NOW, isAlive)).toBe('foreign');
    expect(belongingOf({ 'flowops.deadline': 'soon', 'flowops.owner': 'x y z' }, SELF, NOW, isAlive)).toBe('foreign');
  });

  it.runIf(process.platform === 'linux')('to this very process as the system tells it', () => {
    const labels = labelsOf(thisOwner('host-before'), later);
    expect(belongingOf(labels, thisOwner('host-after'), NOW)).toBe('foreign');
  });
});

describe('a sweep', () => {
  const dead: Owner = { instance: 'host-dead', place: 'boot/1', pid: 30, ticks: '300' };
  const live: Owner = { instance: 'host-live', place: 'boot/1', pid: 20, ticks: '200' };

  function container(id: string, owner: Owner, changes: Partial<ListedContainer> = {}): ListedContainer {
    return {
      id,
      names: [`name-${id}`],
      labels: labelsOf(owner, later),
      state: 'running',
      createdMs: NOW - 1000,
      ...changes,
    };
  }

  async function swept(
    containers: ListedContainer[],
    { tracked = [], left = [], failing = [] }: { tracked?: string[]; left?: string[]; failing?: string[] } = {},
  ) {
    const calls: string[] = [];
    const removed = await sweep({
      engine: {
        list: async () => ({ ok: true, value: containers }),
        unpause: async (id) => {
          calls.push(`unpause ${id}`);
          return { ok: true, value: undefined };
        },
        remove: async (id) => {
          calls.push(`remove ${id}`);
          if (failing.includes(id)) return { ok: false, failure: { kind: 'unreachable', problem: 'gone' } };
          return { ok: true, value: undefined };
        },
      },
      self: SELF,
      tracked: new Set(tracked),
      left: new Set(left),
      log: { info: () => {}, warn: () => {} },
      nowMs: () => NOW,
      isAlive,
    });
    return { calls, removed };
  }

  it('removes what a dead host left, and nothing of a live one', async () => {
    const { calls, removed } = await swept([container('a', dead), container('b', live), container('c', dead)]);
    expect([calls, removed]).toEqual([['remove a', 'remove c'], 2]);
  });

  it('lets a paused one go on first: it could not be killed', async () => {
    expect((await swept([container('a', dead, { state: 'paused' })])).calls).toEqual(['unpause a', 'remove a']);
  });

  it('removes one of its own that it lost track of, but not one that is just being made', async () => {
    const old = { createdMs: NOW - 600_000 };
    const { calls } = await swept([container('a', SELF), container('b', SELF, old), container('c', SELF, old)], {
      tracked: ['c'],
    });
    expect(calls).toEqual(['remove b']);
  });

  it('removes at once what ended here and could not be removed while Docker was away', async () => {
    const { calls } = await swept([container('a', SELF), container('b', SELF), container('c', SELF)], {
      left: ['a', 'name-c'],
    });
    expect(calls).toEqual(['remove a', 'remove c']);
  });

  it('ends quietly when Docker goes away', async () => {
    expect(await swept([container('a', dead), container('b', dead)], { failing: ['a'] })).toMatchObject({ removed: 0 });
    const gone = { ok: false, failure: { kind: 'unreachable', problem: 'gone' } } as const;
    const answer = async () => gone;
    const engine = { list: answer, unpause: answer, remove: answer };
    const log = { info: () => {}, warn: () => {} };
    expect(await sweep({ engine, self: SELF, tracked: new Set(), left: new Set(), log })).toBe(0);
  });
});
