/**
 * A consistent copy of the embedded store, also while engines use it: one read of one moment of the file (VACUUM INTO),
 * which holds up no writer and is not begun again by one. The copy appears under its name when it is whole and on disk.
 */
import { chmodSync, closeSync, existsSync, fsyncSync, linkSync, openSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { StoreDamaged } from './run-store.ts';
import { checkFormat, sqliteFailure } from './sqlite-schema.ts';
import { numberOf } from './sqlite-statements.ts';

/** For another process that is just opening or closing the file; nobody keeps readers out for longer. */
const BUSY_TIMEOUT_MS = 10_000;

export interface StoreBackup {
  readonly bytes: number;
  readonly runs: number;
  /** Those that had not ended. */
  readonly unfinished: number;
}

/**
 * @throws FlowopsError CONFIG_INVALID when there is no store or something is at `target` already
 * @throws StoreUnavailable, StoreDamaged as the store does
 */
export function backupSqlite(file: string, target: string): StoreBackup {
  if (!existsSync(file)) throw noStore(file);
  if (existsSync(target)) throw taken(target);
  const part = `${target}.${process.pid}.part`;
  try {
    copy(file, part);
    const backup = inspect(part);
    publish(part, target);
    return { bytes: statSync(target).size, ...backup };
  } catch (thrown) {
    throw thrown instanceof FlowopsError ? thrown : sqliteFailure(thrown, file);
  } finally {
    rmSync(part, { force: true });
  }
}

function copy(file: string, part: string): void {
  const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  try {
    if (checkFormat(database, file) === 0) throw noStore(file);
    database.prepare('VACUUM INTO ?').run(part);
  } finally {
    database.close();
  }
  chmodSync(part, 0o600);
  sync(part);
}

/** That it can be read is known before it is called a backup. */
function inspect(part: string): { readonly runs: number; readonly unfinished: number } {
  const database = new DatabaseSync(part, { readOnly: true });
  try {
    const check = database.prepare('PRAGMA quick_check(1)').get();
    if (check?.quick_check !== 'ok') throw new StoreDamaged(`the copy is broken: ${JSON.stringify(check)}`);
    const row = database
      .prepare('SELECT count(*) AS runs, count(*) FILTER (WHERE retired = 0) AS unfinished FROM run')
      .get();
    return { runs: numberOf(row, 'runs'), unfinished: numberOf(row, 'unfinished') };
  } finally {
    database.close();
  }
}

/** A link, unlike a rename, takes no name that somebody else has taken meanwhile. */
function publish(part: string, target: string): void {
  try {
    linkSync(part, target);
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST') throw taken(target);
    throw thrown;
  }
  sync(dirname(target));
}

function sync(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function noStore(file: string): FlowopsError {
  return new FlowopsError('CONFIG_INVALID', `there is no store of runs at ${file}; is FLOWOPS_HOME right?`);
}

function taken(target: string): FlowopsError {
  return new FlowopsError('CONFIG_INVALID', `${target} exists already: name a file that does not`);
}
