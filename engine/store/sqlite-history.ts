/**
 * Reads what was told of the runs in a SQLite store, also of those that have ended, on a connection of its own: for who
 * follows a run, never for the engine. Sees each commit as soon as it is made; writes nothing.
 */
import { DatabaseSync } from 'node:sqlite';
import type { RunRef } from './run-store.ts';
import { sqliteFailure } from './sqlite-schema.ts';
import { numberOf, textOf } from './sqlite-statements.ts';

/** For a process that is just opening the file: in WAL nobody else keeps readers out. */
const BUSY_TIMEOUT_MS = 2_000;

/** An outbox entry; positions count from 1 and are never smaller than the sequence of the status event at them. */
export interface ToldEntry {
  readonly position: number;
  readonly body: string;
}

export class SqliteHistory {
  readonly #file: string;
  readonly #now: () => number;
  readonly #database: DatabaseSync;
  readonly #sql: ReturnType<typeof prepareReads>;

  /** @param file of a store that is open in this process */
  constructor(file: string, now: () => number = Date.now) {
    this.#file = file;
    this.#now = now;
    this.#database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    this.#sql = prepareReads(this.#database);
  }

  /** The runs of this id, of whatever flow. @throws StoreUnavailable, StoreDamaged */
  runsNamed(runId: string): readonly RunRef[] {
    const rows = this.#read(() => this.#sql.runsNamed.all(runId, this.#now()));
    return rows.map((row) => ({ flowId: textOf(row, 'flow_id'), runId }));
  }

  /** Those that have not ended, or of which not all was told; oldest first. @throws StoreUnavailable, StoreDamaged */
  unfinishedRuns(): readonly RunRef[] {
    const rows = this.#read(() => this.#sql.unfinished.all());
    return rows.map((row) => ({ flowId: textOf(row, 'flow_id'), runId: textOf(row, 'run_id') }));
  }

  /** The first `most` entries from a position on that are kept. @throws StoreUnavailable, StoreDamaged */
  entries(run: RunRef, from: number, most: number): readonly ToldEntry[] {
    const { flowId, runId } = run;
    const rows = this.#read(() => this.#sql.entries.all(flowId, runId, from, flowId, runId, from, most));
    return rows.map((row) => ({ position: numberOf(row, 'sequence'), body: textOf(row, 'body') }));
  }

  /** Idempotent. */
  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #read<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      throw sqliteFailure(thrown, this.#file);
    }
  }
}

function prepareReads(database: DatabaseSync) {
  const part = (table: string) => `SELECT sequence, body FROM ${table}
    WHERE run = (SELECT id FROM run WHERE flow_id = ? AND run_id = ?) AND sequence >= ?`;
  return {
    runsNamed: database.prepare(
      'SELECT flow_id FROM run WHERE run_id = ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY id',
    ),
    unfinished: database.prepare('SELECT flow_id, run_id FROM run WHERE retired = 0 ORDER BY id'),
    entries: database.prepare(`${part('told')} UNION ALL ${part('event')} ORDER BY sequence LIMIT ?`),
  };
}
