/** What lapses in the SQLite store, and takes everything of it out: stop marks, the data of finished runs, their rows. */
import { META_RETENTION_MIN_MS } from './patch-rules.ts';
import type { Statements } from './sqlite-statements.ts';
import { numberOf } from './sqlite-statements.ts';

/** Removes at most `most` runs, and the data of as many; every stop mark that lapsed. */
function dropLapsed(sql: Statements, now: number, most: number): void {
  sql.expireStopMarks.run(now);
  for (const row of sql.lapsedRuns.all(now, most)) dropRun(sql, numberOf(row, 'id'));
  for (const row of sql.lapsedData.all(now, most)) dropData(sql, numberOf(row, 'id'));
}

/**
 * What lapsed, and partitions without unfinished runs: `flowops run` makes one for each run. Only where the last
 * opening is a week ago, so that no former owner is left whom its epoch would have to refuse; a new one has a higher
 * epoch all the same, by the clock.
 */
export function tidyUp(sql: Statements, now: number, most: number): void {
  dropLapsed(sql, now, most);
  sql.dropOldPartitions.run(now - META_RETENTION_MIN_MS, most);
}

export function dropRun(sql: Statements, id: number): void {
  dropData(sql, id);
  sql.dropMeta.run(id);
  sql.dropRun.run(id);
}

/** Everything but the run's row and its meta. */
export function dropData(sql: Statements, id: number): void {
  sql.dropSteps.run(id);
  sql.dropOutputs.run(id);
  sql.dropAllEvents.run(id);
  sql.dropNotes.run(id);
  sql.dropTold.run(id);
  sql.dataDropped.run(id);
}
