/**
 * Which sandbox hosts of one FLOWOPS_HOME live: each holds a lock on a file of its name in the folder `hosts`, which the
 * kernel frees with the process, however that ends. So whoever sees the folder can prove that a host has ended, also after
 * kill -9, without pids that are used again or clocks. A file that is not there proves nothing: the host may have been
 * another home's.
 *
 * The lock is SQLite's on an empty file: Node itself offers none, and it holds across containers that share a folder.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const FOLDER = 'hosts';
/** `host-`, its start in base 36 (which sorts by age until 2059), 64 random bits. */
const INSTANCE = /^host-[0-9a-z]{8,9}-[0-9a-f]{16}$/;
/** Names of hosts that have ended are kept for as long as a run may name them: a week of restarts every ten minutes. */
const MAX_KEPT = 1_000;
/** sqlite.org/rescode.html */
const SQLITE_BUSY = 5;

export function newInstanceName(nowMs: number = Date.now()): string {
  return `host-${nowMs.toString(36).padStart(8, '0')}-${randomBytes(8).toString('hex')}`;
}

export type InstanceState =
  | 'running'
  /** Its process is gone. */
  | 'ended'
  /** Nothing is known of it here. */
  | 'unknown';

export function instanceState(home: string, instance: string): InstanceState {
  const file = fileOf(home, instance);
  if (file === undefined || !existsSync(file)) return 'unknown';
  try {
    take(file).close();
    return 'ended';
  } catch (thrown) {
    return isBusy(thrown) ? 'running' : 'unknown';
  }
}

/** Of those that have ended, the newest first. Removes the names of the oldest. */
export function endedInstances(home: string, max: number): string[] {
  const names = namesIn(home);
  const ended: string[] = [];
  for (const [index, instance] of names.entries()) {
    if (index >= MAX_KEPT && instanceState(home, instance) === 'ended') remove(home, instance);
    else if (ended.length < max && instanceState(home, instance) === 'ended') ended.push(instance);
  }
  return ended;
}

export interface HeldInstance {
  /** Others see it as ended from now on. Idempotent. */
  release(): void;
}

/** @throws Error when the folder cannot be written: then nobody can prove this host's end */
export function holdInstance(home: string, instance: string): HeldInstance {
  const file = fileOf(home, instance);
  if (file === undefined) throw new Error(`${instance} is no name of a host`);
  mkdirSync(join(home, FOLDER), { recursive: true, mode: 0o700 });
  const database = take(file);
  return {
    release: () => {
      if (database.isOpen) database.close();
    },
  };
}

function take(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    // Nothing is ever written: the file stays empty.
    database.exec('BEGIN IMMEDIATE');
    return database;
  } catch (thrown) {
    database.close();
    throw thrown;
  }
}

/** The newest first. */
function namesIn(home: string): string[] {
  try {
    const names = readdirSync(join(home, FOLDER));
    return names
      .filter((name) => INSTANCE.test(name))
      .sort()
      .reverse();
  } catch {
    return []; // no host was here yet
  }
}

function remove(home: string, instance: string): void {
  try {
    rmSync(join(home, FOLDER, instance), { force: true });
  } catch {
    // Another user's: it stays.
  }
}

/** A name comes from a run's state or from the wire, and is no path. */
function fileOf(home: string, instance: string): string | undefined {
  return INSTANCE.test(instance) ? join(home, FOLDER, instance) : undefined;
}

function isBusy(thrown: unknown): boolean {
  return thrown instanceof Error && 'errcode' in thrown && thrown.errcode === SQLITE_BUSY;
}
