import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ownership, type RunStore, StoreDamaged } from '../../../../engine/store/run-store.ts';
import { backupSqlite } from '../../../../engine/store/sqlite-backup.ts';
import { openSqliteStore } from '../../../../engine/store/sqlite-store.ts';

describe('a backup of the SQLite store', () => {
  let folder: string;
  let file: string;
  let target: string;
  let store: RunStore;
  let owner: Ownership;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flowops-backup-'));
    file = join(folder, 'state.db');
    target = join(folder, 'copy.db');
    store = openSqliteStore({ file });
    owner = await store.openPartition('0');
  });
  afterEach(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });

  const refOf = (runId: string) => ({ flowId: 'f', runId });

  it('holds every run that was acknowledged, of a store that is in use and goes on', async () => {
    for (const runId of ['a', 'b', 'c']) {
      await store.create(refOf(runId), owner, { definition: 'D', events: ['e'], outputs: { 'a.x': '1' } });
    }
    await store.retire(refOf('c'), owner, 1_000_000);
    const report = backupSqlite(file, target);
    expect(report).toEqual({ bytes: statSync(target).size, runs: 3, unfinished: 2 });
    expect(await store.commit(refOf('a'), owner.epoch, 1, { meta: { later: '1' } })).toEqual({ result: 'ok' });

    const copy = openSqliteStore({ file: target });
    expect(await copy.read(refOf('a'))).toMatchObject({ meta: { revision: 1, fields: {} }, outbox: ['e'] });
    expect(await copy.readAllOutputs(refOf('b'))).toEqual(new Map([['a.x', '1']]));
    expect((await copy.activeRuns('0')).map(({ runId }) => runId)).toEqual(['a', 'b']);
    await copy.close();
  });

  it('is one moment, while a writer is in the middle of a transaction', async () => {
    await store.create(refOf('a'), owner, { definition: 'D' });
    const writer = new DatabaseSync(file);
    writer.exec("BEGIN IMMEDIATE; UPDATE run SET definition = 'half'");
    backupSqlite(file, target);
    writer.exec('COMMIT');
    writer.close();
    const copy = openSqliteStore({ file: target });
    expect((await copy.read(refOf('a')))?.definition).toBe('D');
    await copy.close();
  });

  it('is readable by its owner only, and no part of it is left beside it', () => {
    backupSqlite(file, target);
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder).filter((name) => name.startsWith('copy'))).toEqual(['copy.db']);
  });

  it('writes over nothing', () => {
    writeFileSync(target, 'mine');
    expect(() => backupSqlite(file, target)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(() => backupSqlite(file, target)).toThrow(/copy\.db exists already/);
    expect(statSync(target).size).toBe(4);
  });

  it('of what is not there makes nothing', () => {
    expect(() => backupSqlite(join(folder, 'none.db'), target)).toThrow(/no store of runs at .*none\.db/);
    expect(existsSync(join(folder, 'none.db'))).toBe(false);
    expect(existsSync(target)).toBe(false);
  });

  it('of somebody else’s file is damage, of another release’s store a refusal; nothing is left', async () => {
    const junk = join(folder, 'junk.db');
    writeFileSync(junk, 'x'.repeat(10_000));
    expect(() => backupSqlite(junk, target)).toThrow(StoreDamaged);
    await store.close();
    const raw = new DatabaseSync(file);
    raw.exec('PRAGMA user_version = 99');
    raw.close();
    expect(() => backupSqlite(file, target)).toThrow(/has format 99/);
    expect(readdirSync(folder).filter((name) => name.startsWith('copy'))).toEqual([]);
  });
});
