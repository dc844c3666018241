import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ownership, type RunRef, type RunStore, StoreDamaged } from '../../../../engine/store/run-store.ts';
import { openSqliteStore } from '../../../../engine/store/sqlite-store.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const RUN: RunRef = { flowId: 'f', runId: 'r' };
function formatOf(file: string): unknown {
  const raw = new DatabaseSync(file, { readOnly: true });
  const format = raw.prepare('PRAGMA user_version').get()?.user_version;
  raw.close();
  return format;
}

const START = { definition: 'D', steps: { a: 'A' }, outputs: { 'a.x': '1' }, events: ['e'], meta: { m: '1' } };

describe('the SQLite file', () => {
  let folder: string;
  let file: string;
  let nowMs: number;
  let store: RunStore;
  let owner: Ownership;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flowops-store-'));
    file = join(folder, 'home', 'state.db');
    nowMs = 1_000_000;
    store = openSqliteStore({ file, now: () => nowMs });
    owner = await store.openPartition('0');
  });
  afterEach(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });

  /** What lies in the file, whatever the store shows of it. */
  const rows = (table: string): number => {
    const raw = new DatabaseSync(file, { readOnly: true });
    const count = raw.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n;
    raw.close();
    return Number(count);
  };

  it('is readable by its owner only', () => {
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'home')).mode & 0o777).toBe(0o700);
  });

  it('of another release is refused by name of both formats', async () => {
    await store.close();
    const raw = new DatabaseSync(file);
    raw.exec('PRAGMA user_version = 99');
    raw.close();
    expect(() => openSqliteStore({ file })).toThrow(/state\.db has format 99, this release reads 1/);
    expect(() => openSqliteStore({ file })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('that is no database is damage and stays as it is', () => {
    const junk = join(folder, 'junk.db');
    writeFileSync(junk, 'x'.repeat(10_000));
    expect(() => openSqliteStore({ file: junk })).toThrow(StoreDamaged);
    expect(statSync(junk).size).toBe(10_000);
  });

  it('keeps its runs from one opening to the next', async () => {
    await store.create(RUN, owner, START);
    const before = await store.read(RUN);
    await store.close();
    store = openSqliteStore({ file, now: () => nowMs });
    expect(await store.read(RUN)).toEqual(before);
  });

  it('with a run of an unknown format gives everything but that run', async () => {
    await store.create(RUN, owner, START);
    const raw = new DatabaseSync(file);
    raw.exec('UPDATE run SET format = 99');
    raw.close();
    const next = await store.openPartition('0');
    expect(await store.claim(RUN, next)).toEqual({ result: 'unknown-format', format: 99 });
    expect((await store.read(RUN))?.meta.epoch).toBe(owner.epoch);
    expect(await store.create({ ...RUN, runId: 'r2' }, next, START)).toEqual({ result: 'created' });
  });

  it('shows nothing of a run whose retention is over, and the run’s name is free again', async () => {
    await store.create(RUN, owner, START);
    await store.retire(RUN, owner, DAY_MS);
    nowMs += DAY_MS;
    expect(await store.read(RUN)).toMatchObject({
      definition: '',
      steps: new Map(),
      outbox: [],
      meta: { revision: 1 },
    });
    expect(await store.readAllOutputs(RUN)).toEqual(new Map());
    nowMs += 6 * DAY_MS;
    expect(await store.read(RUN)).toBeUndefined();
    expect(await store.commit(RUN, owner.epoch, 1, {})).toEqual({ result: 'missing' });
    expect(await store.create(RUN, owner, { definition: 'new' })).toEqual({ result: 'created' });
    expect(await store.read(RUN)).toMatchObject({ definition: 'new', steps: new Map(), meta: { fields: {} } });
    expect(rows('run')).toBe(1);
  });

  it('is freed of lapsed runs a few at a time, at each retire', async () => {
    const runs = Array.from({ length: 12 }, (_, index) => ({ flowId: 'f', runId: `old-${index}` }));
    for (const run of runs) {
      await store.create(run, owner, START);
      await store.retire(run, owner, 0);
    }
    expect(rows('step')).toBeLessThanOrEqual(1);
    nowMs += 7 * DAY_MS;
    await store.create(RUN, owner, START);
    await store.retire(RUN, owner, DAY_MS);
    expect(rows('run')).toBe(1 + 12 - 5);
    expect(rows('step')).toBe(1);
  });

  it('is freed of lapsed runs and stop marks when it is opened', async () => {
    await store.create(RUN, owner, START);
    await store.retire(RUN, owner, DAY_MS);
    await store.markStopped({ flowId: 'f', runId: 'never' }, DAY_MS);
    await store.close();
    nowMs += 8 * DAY_MS;
    store = openSqliteStore({ file, now: () => nowMs });
    await store.openPartition('0');
    for (const table of ['run', 'meta', 'step', 'output', 'event', 'told', 'stop_mark']) expect(rows(table)).toBe(0);
  });

  it('is freed of partitions without unfinished runs a week after they were opened', async () => {
    const embedded = await store.openPartition('run-f.r');
    await store.create(RUN, embedded, START);
    await store.retire(RUN, embedded, 0);
    const unfinished = await store.openPartition('run-f.left');
    await store.create({ flowId: 'f', runId: 'left' }, unfinished, START);
    const reopen = async (afterMs: number) => {
      await store.close();
      nowMs += afterMs;
      store = openSqliteStore({ file, now: () => nowMs });
      // Any write comes after the tidying up.
      await store.markStopped(RUN, 0);
      return store.partitions();
    };
    expect([...(await reopen(6 * DAY_MS))].sort()).toEqual(['0', 'run-f.left', 'run-f.r']);
    // Epochs are up to a quarter of a second ahead.
    expect(await reopen(DAY_MS + 1_000)).toEqual(['run-f.left']);
    expect((await store.openPartition('run-f.r')).epoch).toBeGreaterThan(embedded.epoch);
  });

  it('of the release before gets what this one needs, and keeps its format', async () => {
    await store.create(RUN, owner, START);
    await store.close();
    const raw = new DatabaseSync(file);
    raw.exec('DROP TRIGGER told_of_dropped_run; DROP TABLE told; DROP INDEX run_of_id');
    raw.close();
    store = openSqliteStore({ file, now: () => nowMs });
    expect(await store.commit(RUN, owner.epoch, 1, { acknowledged: 1 })).toEqual({ result: 'ok' });
    expect(rows('told')).toBe(1);
    expect(formatOf(file)).toBe(1);
  });

  it('takes the newer format when it is asked for, which the release before then refuses', async () => {
    await store.close();
    store = openSqliteStore({ file, now: () => nowMs, format: 2 });
    expect(formatOf(file)).toBe(2);
    await store.close();
    store = openSqliteStore({ file, now: () => nowMs });
    expect(formatOf(file)).toBe(2);
    expect(store.format).toBe(1);
  });

  it('leaves no note and no event of a run that the release before removed', async () => {
    await store.create(RUN, owner, START);
    await store.note(RUN, '0', 'x');
    await store.commit(RUN, owner.epoch, 1, { acknowledged: 1 });
    expect([rows('note'), rows('told')]).toEqual([1, 1]);
    const raw = new DatabaseSync(file);
    raw.exec('DELETE FROM run');
    raw.close();
    expect([rows('note'), rows('told')]).toEqual([0, 0]);
  });

  it('gives an epoch above the last also when the clock went back', async () => {
    nowMs = 5;
    expect((await store.openPartition('0')).epoch).toBeGreaterThan(owner.epoch);
  });

  it('takes the epoch of an owner that it forgot (a backup was put back)', async () => {
    const raw = new DatabaseSync(file);
    raw.exec('DELETE FROM partition');
    raw.close();
    expect(await store.create(RUN, owner, START)).toEqual({ result: 'created' });
    expect(await store.create({ ...RUN, runId: 'r2' }, { ...owner, epoch: owner.epoch - 1 }, START)).toEqual({
      result: 'fenced',
    });
  });
});
