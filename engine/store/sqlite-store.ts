/**
 * Run state in one SQLite file (embedded use, design 4.2): WAL, synchronous FULL, the writes of one turn of the event
 * loop in one transaction. Several processes may use the file at once; FLOWOPS_HOME's single owner is home-lock.ts.
 *
 * The index of a partition is the run table itself, so that a run and its index change in one transaction here, and a
 * former owner is refused by the partition's epoch directly.
 */
import type { DatabaseSync } from 'node:sqlite';
import { CommitGroup } from './commit-group.ts';
import { checkPartition, nextEpoch, runName } from './keys.ts';
import { NoteListeners } from './note-listeners.ts';
import { checkCount, checkNote, checkPatch, metaRetentionMs } from './patch-rules.ts';
import {
  type ClaimResult,
  type CommitResult,
  type CreateResult,
  DEFAULT_STATE_FORMAT,
  type Durability,
  isStateFormat,
  NOTES_MAX,
  type NoteListener,
  type Ownership,
  type RunMeta,
  type RunPatch,
  type RunRef,
  type RunStore,
  type StateFormat,
  type StoredRun,
  StoreUnavailable,
} from './run-store.ts';
import { dropData, dropRun, tidyUp } from './sqlite-retention.ts';
import { openDatabase, sqliteFailure } from './sqlite-schema.ts';
import { numberOf, prepareStatements, type RunRow, runOf, type Statements, textOf } from './sqlite-statements.ts';

/** Lapsed runs, and partitions, removed beside each retire: more than one, so that they get fewer. */
const LAPSED_PER_RETIRE = 5;
/** Lapsed runs, and partitions, removed when the file is opened: a bounded part of the start. */
const LAPSED_AT_OPEN = 100;

export interface SqliteStoreOptions {
  /** The database file; made, with its folder, when it is not there. */
  readonly file: string;
  /** Epoch ms; the machine's clock unless a test gives another. */
  readonly now?: () => number;
  /** STATE_FORMAT: in which new runs are written. */
  readonly format?: StateFormat;
}

/**
 * @throws StoreUnavailable when the file cannot be used now, StoreDamaged when it is no database of ours,
 *   FlowopsError CONFIG_INVALID when another release wrote it
 */
export function openSqliteStore(options: SqliteStoreOptions): RunStore {
  return new SqliteRunStore(options.file, options.now ?? Date.now, options.format ?? DEFAULT_STATE_FORMAT);
}

class SqliteRunStore implements RunStore {
  readonly durability: Durability = { description: 'sqlite WAL FULL', delayMs: 0 };
  readonly format: StateFormat;
  readonly #file: string;
  readonly #now: () => number;
  readonly #database: DatabaseSync;
  readonly #sql: Statements;
  readonly #group: CommitGroup;
  readonly #listeners = new NoteListeners();

  constructor(file: string, now: () => number, format: StateFormat) {
    this.format = format;
    this.#file = file;
    this.#now = now;
    this.#database = openDatabase(file, format);
    this.#sql = prepareStatements(this.#database);
    this.#group = new CommitGroup(this.#database);
    // Nobody waits for it; a failure will show in the first call that somebody waits for.
    this.#group.add(() => tidyUp(this.#sql, this.#now(), LAPSED_AT_OPEN)).catch(() => {});
  }

  get state(): 'up' | 'down' {
    return this.#database.isOpen ? 'up' : 'down';
  }

  /** What it acknowledged is on disk. */
  onDoubt(): () => void {
    return () => {};
  }

  async clock(): Promise<number> {
    return this.#now();
  }

  openPartition(partition: string): Promise<Ownership> {
    checkPartition(partition);
    this.#listeners.open(partition);
    return this.#write(() => {
      const epoch = nextEpoch(partition, Math.max(this.#partitionEpoch(partition) + 1, this.#now()));
      this.#sql.putPartition.run(partition, epoch);
      return { partition, epoch };
    });
  }

  async closePartition(partition: string): Promise<void> {
    this.#listeners.close(partition);
  }

  /** The index is the run table itself: only the epoch can be lost apart from the runs. */
  restorePartition(owner: Ownership, _runs: readonly RunRef[]): Promise<'ok' | 'fenced'> {
    checkPartition(owner.partition);
    checkCount('epoch', owner.epoch);
    return this.#write(() => (this.#holdsPartition(owner) ? 'ok' : 'fenced'));
  }

  activeRuns(partition: string): Promise<readonly RunRef[]> {
    checkPartition(partition);
    return this.#read(() =>
      this.#sql.activeRuns
        .all(partition)
        .map((row) => ({ flowId: textOf(row, 'flow_id'), runId: textOf(row, 'run_id') })),
    );
  }

  partitions(): Promise<readonly string[]> {
    return this.#read(() => this.#sql.partitions.all().map((row) => textOf(row, 'name')));
  }

  async create(
    run: RunRef,
    owner: Ownership,
    initial: RunPatch & { readonly definition: string },
    options?: { readonly ignoreStopMark?: boolean },
  ): Promise<CreateResult> {
    runName(run);
    checkPartition(owner.partition);
    checkCount('epoch', owner.epoch);
    checkPatch(initial);
    return this.#write((): CreateResult => {
      if (!this.#holdsPartition(owner)) return { result: 'fenced' };
      const known = this.#find(run);
      if (known !== undefined)
        return { result: 'exists', meta: this.#meta(known), definition: this.#definition(known) };
      const mark = this.#sql.findStopMark.get(run.flowId, run.runId);
      if (mark !== undefined && options?.ignoreStopMark !== true && numberOf(mark, 'until') > this.#now()) {
        return { result: 'stop-marked' };
      }
      this.#sql.dropStopMark.run(run.flowId, run.runId);
      this.#dropRunOf(run);
      const head = initial.outboxFrom ?? 1;
      const events = initial.events ?? [];
      const { flowId, runId } = run;
      const row = this.#sql.insertRun.get(
        ...[flowId, runId, this.format, owner.partition, owner.epoch],
        ...[head, head + events.length - 1, initial.definition],
      );
      this.#put(numberOf(row, 'id'), initial, head);
      return { result: 'created' };
    });
  }

  async claim(run: RunRef, owner: Ownership): Promise<ClaimResult> {
    checkCount('epoch', owner.epoch);
    return this.#write((): ClaimResult => {
      const row = this.#find(run);
      if (row === undefined) return { result: 'missing' };
      if (!isStateFormat(row.format)) return { result: 'unknown-format', format: row.format };
      if (row.partition !== owner.partition || owner.epoch < row.epoch) return { result: 'fenced' };
      if (row.isRetired) {
        if (!this.#holdsPartition(owner)) return { result: 'fenced' };
        if (row.isDataExpired) dropData(this.#sql, row.id);
        this.#sql.reopenRun.run(row.id);
      }
      if (owner.epoch > row.epoch) this.#sql.claimRun.run(owner.epoch, row.id);
      const stored = this.#stored({ ...row, epoch: owner.epoch });
      return { result: 'claimed', run: { ...stored, notes: this.#notes(row.id) } };
    });
  }

  async commit(run: RunRef, epoch: number, revision: number, patch: RunPatch): Promise<CommitResult> {
    checkPatch(patch);
    checkCount('epoch', epoch);
    checkCount('revision', revision);
    return this.#write((): CommitResult => {
      const row = this.#find(run);
      if (row === undefined) return { result: 'missing' };
      if (epoch < row.epoch) return { result: 'fenced' };
      if (revision > row.revision) return { result: 'behind', revision: row.revision };
      if (revision < row.revision) return { result: epoch === row.epoch && revision >= row.since ? 'ok' : 'fenced' };
      if (row.isRetired) return { result: 'missing' };
      // The file went back in time (a backup was put back) and lost the claim.
      if (epoch > row.epoch) this.#sql.claimRun.run(epoch, row.id);

      const { head, sequence } = this.#trim(row, patch);
      this.#put(row.id, patch, sequence + 1);
      if (patch.definition !== undefined) this.#sql.putDefinition.run(patch.definition, row.id);
      this.#sql.commitRun.run(row.revision + 1, head, sequence + (patch.events?.length ?? 0), row.id);
      return { result: 'ok' };
    });
  }

  readOutputs(run: RunRef, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return this.#read(() => {
      const found = new Map<string, string>();
      const row = this.#find(run);
      if (row === undefined || row.isDataExpired) return found;
      for (const name of names) {
        const output = this.#sql.readOutput.get(row.id, name);
        if (output !== undefined) found.set(name, textOf(output, 'value'));
      }
      return found;
    });
  }

  readAllOutputs(run: RunRef): Promise<ReadonlyMap<string, string>> {
    return this.#read(() => {
      const row = this.#find(run);
      if (row === undefined || row.isDataExpired) return new Map();
      return pairs(this.#sql.readOutputs.all(row.id));
    });
  }

  read(run: RunRef): Promise<StoredRun | undefined> {
    return this.#read(() => {
      const row = this.#find(run);
      return row === undefined ? undefined : this.#stored(row);
    });
  }

  async retire(run: RunRef, owner: Ownership, retentionMs: number): Promise<'ok' | 'fenced'> {
    return this.#write(() => {
      if (!this.#holdsPartition(owner)) return 'fenced';
      const row = this.#find(run);
      if (row !== undefined) {
        if (row.partition !== owner.partition || owner.epoch < row.epoch) return 'fenced';
        if (!row.isRetired) {
          const now = this.#now();
          const keepMs = Math.ceil(retentionMs);
          this.#sql.retireRun.run(now + keepMs, now + metaRetentionMs(keepMs), row.id);
        }
      }
      tidyUp(this.#sql, this.#now(), LAPSED_PER_RETIRE);
      return 'ok';
    });
  }

  async note(run: RunRef, partition: string, text: string): Promise<void> {
    checkPartition(partition);
    checkNote(text);
    const isKept = await this.#write(() => {
      const row = this.#find(run);
      if (row === undefined || row.isRetired) return false;
      this.#sql.putNote.run(row.id, text);
      this.#sql.dropOldNotes.run(row.id, row.id, NOTES_MAX);
      return true;
    });
    if (isKept && this.#listeners.partitions.has(partition)) this.#listeners.tell(run, text);
  }

  notes(run: RunRef): Promise<readonly string[]> {
    return this.#read(() => {
      const row = this.#find(run);
      return row === undefined || row.isDataExpired ? [] : this.#notes(row.id);
    });
  }

  onTaken(listener: (by: Ownership) => void): () => void {
    return this.#listeners.onTaken(listener);
  }

  onNote(listener: NoteListener): () => void {
    return this.#listeners.add(listener);
  }

  async markStopped(run: RunRef, ttlMs: number): Promise<void> {
    runName(run);
    await this.#write(() => {
      if (this.#find(run) !== undefined) return;
      this.#sql.putStopMark.run(run.flowId, run.runId, this.#now() + Math.ceil(ttlMs));
    });
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    if (!this.#database.isOpen) return;
    this.#group.flush();
    this.#database.close();
  }

  async #write<T>(work: () => T): Promise<T> {
    this.#checkOpen();
    try {
      return await this.#group.add(work);
    } catch (thrown) {
      throw sqliteFailure(thrown, this.#file);
    }
  }

  /** Sees every acknowledged write, and one state of the file, whatever other processes write meanwhile. */
  async #read<T>(work: () => T): Promise<T> {
    this.#checkOpen();
    try {
      this.#database.exec('BEGIN');
      try {
        return work();
      } finally {
        this.#database.exec('COMMIT');
      }
    } catch (thrown) {
      throw sqliteFailure(thrown, this.#file);
    }
  }

  #checkOpen(): void {
    if (!this.#database.isOpen) throw new StoreUnavailable(`${this.#file} was closed`);
  }

  #partitionEpoch(partition: string): number {
    const row = this.#sql.readPartition.get(partition);
    return row === undefined ? 0 : numberOf(row, 'epoch');
  }

  /** Whether nobody holds the partition under a later epoch. A forgotten epoch (the file went back) is set again. */
  #holdsPartition(owner: Ownership): boolean {
    const stored = this.#partitionEpoch(owner.partition);
    if (owner.epoch > stored) this.#sql.putPartition.run(owner.partition, owner.epoch);
    return owner.epoch >= stored;
  }

  #find(run: RunRef): RunRow | undefined {
    const now = this.#now();
    const row = this.#sql.findRun.get(now, run.flowId, run.runId, now);
    return row === undefined ? undefined : runOf(row);
  }

  #meta(row: RunRow): RunMeta {
    const { format, partition, epoch, revision, outboxHead } = row;
    const fields = Object.fromEntries(pairs(this.#sql.readMeta.all(row.id)));
    return { format, partition, epoch, revision, outboxHead, fields };
  }

  #definition(row: RunRow): string {
    return row.isDataExpired ? '' : textOf(this.#sql.readDefinition.get(row.id), 'definition');
  }

  #stored(row: RunRow): StoredRun {
    return {
      meta: this.#meta(row),
      definition: this.#definition(row),
      steps: row.isDataExpired ? new Map() : pairs(this.#sql.readSteps.all(row.id)),
      outbox: row.isDataExpired ? [] : this.#sql.readEvents.all(row.id).map((event) => textOf(event, 'body')),
    };
  }

  #notes(id: number): readonly string[] {
    return this.#sql.readNotes.all(id).map((row) => textOf(row, 'text'));
  }

  /** Takes acknowledged events out. Gives the outbox's new head and the sequence of its last event. */
  #trim(row: RunRow, patch: RunPatch): { readonly head: number; readonly sequence: number } {
    if (patch.outboxFrom !== undefined) {
      this.#sql.dropAllEvents.run(row.id);
      return { head: patch.outboxFrom, sequence: patch.outboxFrom - 1 };
    }
    const acknowledged = Math.min(patch.acknowledged ?? 0, row.sequence);
    if (acknowledged < row.outboxHead) return { head: row.outboxHead, sequence: row.sequence };
    this.#sql.keepTold.run(row.id, acknowledged);
    this.#sql.dropEvents.run(row.id, acknowledged);
    return { head: acknowledged + 1, sequence: row.sequence };
  }

  #put(id: number, patch: RunPatch, firstSequence: number): void {
    for (const [name, value] of Object.entries(patch.meta ?? {})) this.#sql.putMeta.run(id, name, value);
    for (const [stepId, record] of Object.entries(patch.steps ?? {})) this.#sql.putStep.run(id, stepId, record);
    for (const [name, value] of Object.entries(patch.outputs ?? {})) this.#sql.putOutput.run(id, name, value);
    patch.events?.forEach((event, index) => {
      this.#sql.putEvent.run(id, firstSequence + index, event);
    });
  }

  /** What is left of an expired run of this name. */
  #dropRunOf(run: RunRef): void {
    const row = this.#sql.findRun.get(0, run.flowId, run.runId, 0);
    if (row !== undefined) dropRun(this.#sql, numberOf(row, 'id'));
  }
}

function pairs(rows: readonly Parameters<typeof textOf>[0][]): ReadonlyMap<string, string> {
  return new Map(rows.map((row) => [textOf(row, 'name'), textOf(row, 'value')]));
}
