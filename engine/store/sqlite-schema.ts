/**
 * The SQLite file: opening it safely for several processes, its tables, its format (`user_version`), and which of its
 * errors mean what.
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { isStateFormat, STATE_FORMATS, type StateFormat, StoreDamaged, StoreUnavailable } from './run-store.ts';

/** The name of the embedded store in FLOWOPS_HOME. */
export const STORE_FILE = 'flowops.db';

/** How long opening waits for other processes that open the same file. Nothing else goes on meanwhile. */
const OPEN_TIMEOUT_MS = 2_000;
/** How long a write may block this process while another one's transaction ends; then commit-group.ts waits on. */
const BUSY_TIMEOUT_MS = 20;

/** A run is in the index of its partition while `retired` is 0, hence no table for the index. */
const TABLES = `
  CREATE TABLE partition (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    flow_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    format INTEGER NOT NULL,
    partition TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    since INTEGER NOT NULL,
    outbox_head INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    retired INTEGER NOT NULL DEFAULT 0,
    data_expires_at INTEGER,
    expires_at INTEGER,
    definition TEXT NOT NULL,
    UNIQUE (flow_id, run_id)
  ) STRICT;
  CREATE INDEX run_active ON run (partition) WHERE retired = 0;
  CREATE INDEX run_data_expires ON run (data_expires_at) WHERE data_expires_at IS NOT NULL;
  CREATE INDEX run_expires ON run (expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE meta (
    run INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE step (
    run INTEGER NOT NULL, step_id TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (run, step_id)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE output (
    run INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, name)
  ) STRICT;
  CREATE TABLE event (
    run INTEGER NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE stop_mark (
    flow_id TEXT NOT NULL, run_id TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (flow_id, run_id)
  ) STRICT, WITHOUT ROWID;
`;

/**
 * Added to files of the release before as well, which goes on with them without knowing of it: hence triggers, and no
 * change of what was there. `told` holds the events that left the outbox, for who follows a run (sqlite-history.ts).
 */
const ADDED_TABLES = `
  CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, text TEXT NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS note_of_run ON note (run, id);
  CREATE INDEX IF NOT EXISTS partition_epoch ON partition (epoch);
  CREATE TRIGGER IF NOT EXISTS note_of_dropped_run AFTER DELETE ON run BEGIN DELETE FROM note WHERE run = old.id; END;
  CREATE TABLE IF NOT EXISTS told (
    run INTEGER NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS run_of_id ON run (run_id);
  CREATE TRIGGER IF NOT EXISTS told_of_dropped_run AFTER DELETE ON run BEGIN DELETE FROM told WHERE run = old.id; END;
`;

/**
 * Opens the file, making it (readable by its owner only) when it is not there.
 * @throws FlowopsError CONFIG_INVALID when another release wrote it, StoreDamaged when it is no database of ours
 */
export function openDatabase(file: string, format: StateFormat): DatabaseSync {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const isNew = file !== ':memory:' && !existsSync(file);
    const database = new DatabaseSync(file, { timeout: OPEN_TIMEOUT_MS });
    try {
      if (isNew) chmodSync(file, 0o600);
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
      prepareFormat(database, file, format);
      database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
      return database;
    } catch (thrown) {
      database.close();
      throw thrown;
    }
  } catch (thrown) {
    throw sqliteFailure(thrown, file);
  }
}

/**
 * `user_version` is the newest format that runs of the file may have, so that the release before leaves a file alone
 * that it would not understand. Several processes may come here at once: the first one in does what there is to do.
 */
function prepareFormat(database: DatabaseSync, file: string, format: StateFormat): void {
  const found = checkFormat(database, file);
  if (found >= format && hasAddedTables(database)) return;
  database.exec('BEGIN IMMEDIATE');
  if (formatOf(database) === 0) database.exec(TABLES);
  if (formatOf(database) < format) database.exec(`PRAGMA user_version = ${format}`);
  database.exec(ADDED_TABLES);
  database.exec('COMMIT');
}

/**
 * The format of a file that this release may touch; 0 when there is nothing in it yet.
 * @throws FlowopsError CONFIG_INVALID
 */
export function checkFormat(database: DatabaseSync, file: string): number {
  const found = formatOf(database);
  if (found === 0 || isStateFormat(found)) return found;
  throw new FlowopsError(
    'CONFIG_INVALID',
    `${file} has format ${found}, this release reads ${STATE_FORMATS.join(' and ')}: use the release that wrote it, or another FLOWOPS_HOME`,
  );
}

function hasAddedTables(database: DatabaseSync): boolean {
  return database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'told_of_dropped_run'").get() !== undefined;
}

function formatOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.user_version);
}

/** Primary result codes (sqlite.org/rescode.html) after which the same call may work later. */
const PASSING_CODES: Readonly<Record<number, string>> = {
  5: 'another process holds it for too long',
  6: 'another process holds it for too long',
  8: 'it may not be written: look at the rights of the folder',
  10: 'its disk fails',
  13: 'its disk is full',
  14: 'it cannot be opened: look at the rights of the folder',
};
/** SQLITE_CORRUPT, SQLITE_NOTADB */
const DAMAGE_CODES = new Set([11, 26]);

/** What an error of the database means to the engine; anything unknown comes back as it is (a bug). */
export function sqliteFailure(thrown: unknown, file: string): Error {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  if ('code' in thrown && (thrown.code === 'EACCES' || thrown.code === 'ENOSPC' || thrown.code === 'EROFS')) {
    return new StoreUnavailable(`${file} cannot be used: ${messageOf(thrown)}`, { cause: thrown });
  }
  const code = 'errcode' in thrown && typeof thrown.errcode === 'number' ? thrown.errcode & 0xff : undefined;
  if (code === undefined) return thrown;
  const why = PASSING_CODES[code];
  if (why !== undefined) return new StoreUnavailable(`${file} cannot be used: ${why}`, { cause: thrown });
  if (DAMAGE_CODES.has(code)) {
    return new StoreDamaged(`${file} is no database of ours or is broken: move it away or restore it`, {
      cause: thrown,
    });
  }
  return thrown;
}
