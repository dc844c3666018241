/** The SQL of the SQLite store, prepared once per connection, and the rows it gives, read into types. */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { StoreDamaged } from './run-store.ts';

export type Statements = Readonly<ReturnType<typeof prepareStatements>>;

export function prepareStatements(database: DatabaseSync) {
  const prepare = (sql: string) => database.prepare(sql);
  return {
    readPartition: prepare('SELECT epoch FROM partition WHERE name = ?'),
    putPartition: prepare('INSERT INTO partition VALUES (?, ?) ON CONFLICT DO UPDATE SET epoch = excluded.epoch'),
    dropOldPartitions: prepare(`DELETE FROM partition WHERE name IN (
      SELECT name FROM partition WHERE epoch < ?
        AND NOT EXISTS (SELECT 1 FROM run WHERE run.partition = partition.name AND run.retired = 0) LIMIT ?)`),
    partitions: prepare('SELECT name FROM partition UNION SELECT DISTINCT partition FROM run WHERE retired = 0'),
    activeRuns: prepare('SELECT flow_id, run_id FROM run WHERE partition = ? AND retired = 0 ORDER BY id'),

    findRun: prepare(`SELECT id, format, partition, epoch, revision, since, outbox_head, sequence, retired,
      coalesce(data_expires_at <= ?, 0) AS is_data_expired
    FROM run WHERE flow_id = ? AND run_id = ? AND (expires_at IS NULL OR expires_at > ?)`),
    insertRun:
      prepare(`INSERT INTO run (flow_id, run_id, format, partition, epoch, revision, since, outbox_head, sequence, definition)
    VALUES (?, ?, ?, ?, ?, 1, 1, ?, ?, ?) RETURNING id`),
    readDefinition: prepare('SELECT definition FROM run WHERE id = ?'),
    putDefinition: prepare('UPDATE run SET definition = ? WHERE id = ?'),
    claimRun: prepare('UPDATE run SET epoch = ?, since = revision WHERE id = ?'),
    commitRun: prepare('UPDATE run SET revision = ?, outbox_head = ?, sequence = ? WHERE id = ?'),
    retireRun: prepare('UPDATE run SET retired = 1, data_expires_at = ?, expires_at = ? WHERE id = ?'),
    reopenRun: prepare('UPDATE run SET retired = 0, data_expires_at = NULL, expires_at = NULL WHERE id = ?'),

    putMeta: prepare('INSERT INTO meta VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value'),
    readMeta: prepare('SELECT name, value FROM meta WHERE run = ?'),
    putStep: prepare('INSERT INTO step VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record'),
    readSteps: prepare('SELECT step_id AS name, record AS value FROM step WHERE run = ?'),
    putOutput: prepare('INSERT INTO output VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value'),
    readOutput: prepare('SELECT name, value FROM output WHERE run = ? AND name = ?'),
    readOutputs: prepare('SELECT name, value FROM output WHERE run = ?'),
    putEvent: prepare('INSERT INTO event VALUES (?, ?, ?)'),
    readEvents: prepare('SELECT body FROM event WHERE run = ? ORDER BY sequence'),
    dropEvents: prepare('DELETE FROM event WHERE run = ? AND sequence <= ?'),
    keepTold: prepare(
      'INSERT OR REPLACE INTO told SELECT run, sequence, body FROM event WHERE run = ? AND sequence <= ?',
    ),
    dropTold: prepare('DELETE FROM told WHERE run = ?'),

    putNote: prepare('INSERT INTO note (run, text) VALUES (?, ?)'),
    readNotes: prepare('SELECT text FROM note WHERE run = ? ORDER BY id'),
    dropOldNotes: prepare(
      'DELETE FROM note WHERE run = ? AND id <= (SELECT id FROM note WHERE run = ? ORDER BY id DESC LIMIT 1 OFFSET ?)',
    ),
    dropNotes: prepare('DELETE FROM note WHERE run = ?'),

    putStopMark: prepare(`INSERT INTO stop_mark VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET until = max(until, excluded.until)`),
    findStopMark: prepare('SELECT until FROM stop_mark WHERE flow_id = ? AND run_id = ?'),
    dropStopMark: prepare('DELETE FROM stop_mark WHERE flow_id = ? AND run_id = ?'),
    expireStopMarks: prepare('DELETE FROM stop_mark WHERE until <= ?'),

    lapsedData: prepare('SELECT id FROM run WHERE data_expires_at <= ? LIMIT ?'),
    lapsedRuns: prepare('SELECT id FROM run WHERE expires_at <= ? LIMIT ?'),
    dataDropped: prepare("UPDATE run SET data_expires_at = NULL, definition = '' WHERE id = ?"),
    dropSteps: prepare('DELETE FROM step WHERE run = ?'),
    dropOutputs: prepare('DELETE FROM output WHERE run = ?'),
    dropAllEvents: prepare('DELETE FROM event WHERE run = ?'),
    dropMeta: prepare('DELETE FROM meta WHERE run = ?'),
    dropRun: prepare('DELETE FROM run WHERE id = ?'),
  };
}

type Row = Record<string, SQLOutputValue>;

export interface RunRow {
  readonly id: number;
  readonly format: number;
  readonly partition: string;
  readonly epoch: number;
  readonly revision: number;
  readonly since: number;
  readonly outboxHead: number;
  readonly sequence: number;
  readonly isRetired: boolean;
  readonly isDataExpired: boolean;
}

/** A row of `findRun`. */
export function runOf(row: Row): RunRow {
  return {
    id: numberOf(row, 'id'),
    format: numberOf(row, 'format'),
    partition: textOf(row, 'partition'),
    epoch: numberOf(row, 'epoch'),
    revision: numberOf(row, 'revision'),
    since: numberOf(row, 'since'),
    outboxHead: numberOf(row, 'outbox_head'),
    sequence: numberOf(row, 'sequence'),
    isRetired: numberOf(row, 'retired') === 1,
    isDataExpired: numberOf(row, 'is_data_expired') === 1,
  };
}

export function numberOf(row: Row | undefined, column: string): number {
  const value = row?.[column];
  if (typeof value !== 'number') throw new StoreDamaged(`the database's column ${column} holds no number`);
  return value;
}

export function textOf(row: Row | undefined, column: string): string {
  const value = row?.[column];
  if (typeof value !== 'string') throw new StoreDamaged(`the database's column ${column} holds no text`);
  return value;
}
