/**
 * FLOWOPS_HOME has one engine (design 4.2). The lock is a write lock on the file `engine.lock`, a tiny SQLite database
 * whose one row names the owner: the kernel frees the lock with the process, however that ends, so that there is no
 * stale lock to detect, no pid to be reused, and two containers that share the folder see each other. While it is held
 * others can still read who holds it.
 */
import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isBusy } from './commit-group.ts';
import { sqliteFailure } from './sqlite-schema.ts';

/** Covers the moments in which a new owner writes its name and somebody else reads it. */
const BUSY_TIMEOUT_MS = 500;

export interface HomeOwner {
  readonly pid: number;
  readonly host: string;
}

export type HomeLockResult =
  | { readonly result: 'held'; readonly lock: HomeLock }
  /** `owner` is undefined when it cannot be told (it is just starting or ending). */
  | { readonly result: 'taken'; readonly owner: HomeOwner | undefined; readonly message: string };

export interface HomeLock {
  /** Idempotent. */
  release(): void;
}

/**
 * @param home FLOWOPS_HOME; made when it is not there
 * @param patienceMs how long this process may stand still, should somebody else hold it
 * @throws StoreUnavailable when the folder cannot be written
 */
export function lockHome(home: string, patienceMs = BUSY_TIMEOUT_MS): HomeLockResult {
  const file = join(home, 'engine.lock');
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(file, { timeout: patienceMs });
    writeOwner(database);
    // From here to `release`: a write lock that lets others read.
    database.exec('BEGIN IMMEDIATE');
    return { result: 'held', lock: heldBy(database) };
  } catch (thrown) {
    database?.close();
    if (!isBusy(thrown)) throw sqliteFailure(thrown, file);
    const owner = readOwner(file, patienceMs);
    const who = owner === undefined ? 'another engine' : `the engine with pid ${owner.pid} on ${owner.host}`;
    return { result: 'taken', owner, message: `${home} is in use by ${who}: stop it, or set another FLOWOPS_HOME` };
  }
}

function writeOwner(database: DatabaseSync): void {
  database.exec('BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS owner (id INTEGER PRIMARY KEY, pid INTEGER, host TEXT)');
  database.prepare('INSERT OR REPLACE INTO owner VALUES (1, ?, ?)').run(process.pid, hostname());
  database.exec('COMMIT');
}

function readOwner(file: string, patienceMs: number): HomeOwner | undefined {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { readOnly: true, timeout: patienceMs });
    const row = database.prepare('SELECT pid, host FROM owner').get();
    return typeof row?.pid === 'number' && typeof row.host === 'string' ? { pid: row.pid, host: row.host } : undefined;
  } catch {
    // No table yet, or busy all the time: whoever it is, it is there.
    return undefined;
  } finally {
    database?.close();
  }
}

function heldBy(database: DatabaseSync): HomeLock {
  return {
    release: () => {
      if (database.isOpen) database.close();
    },
  };
}
