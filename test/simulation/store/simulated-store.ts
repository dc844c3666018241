/**
 * One engine's connection to the simulated store. It makes the same calls, one after the other, as the store on Redis
 * does, so that an engine can die, be overtaken or lose its connection between any two of them.
 */
import { checkPartition, runName } from '@flowops/engine/store/keys.ts';
import { NoteListeners } from '@flowops/engine/store/note-listeners.ts';
import { checkCount, checkNote, checkPatch, metaRetentionMs } from '@flowops/engine/store/patch-rules.ts';
import {
  type ClaimResult,
  type CommitResult,
  type CreateResult,
  type Durability,
  type NoteListener,
  type Ownership,
  type RunPatch,
  type RunRef,
  type RunStore,
  type StateFormat,
  type StoredRun,
  StoreUnavailable,
} from '@flowops/engine/store/run-store.ts';
import { metaOf, type StoreData, storedOf } from './store-data.ts';

/** Does one script at the store. Rejects with StoreUnavailable when no answer comes. */
export type StoreWire = <Result>(what: string, script: () => Result) => Promise<Result>;

/** What is told to the owners of partitions reaches every connection, as Redis' channels do. */
export class NoteChannel {
  readonly #connections = new Set<(act: (listeners: NoteListeners) => void) => void>();

  tell(act: (listeners: NoteListeners) => void): void {
    for (const deliver of this.#connections) deliver(act);
  }

  join(deliver: (act: (listeners: NoteListeners) => void) => void): () => void {
    this.#connections.add(deliver);
    return () => this.#connections.delete(deliver);
  }
}

/** How the connection stands; see RunStore. */
export interface StoreHealth {
  readonly state: RunStore['state'];
  onDoubt(listener: () => void): () => void;
}

export const ALWAYS_UP: StoreHealth = { state: 'up', onDoubt: () => () => undefined };

export interface SimulatedStoreOptions {
  readonly data: StoreData;
  readonly wire: StoreWire;
  readonly channel: NoteChannel;
  /** Brings a note to this connection; absent: at once. */
  readonly push?: (deliver: () => void) => void;
  readonly durability: Durability;
  readonly health: StoreHealth;
  /** Of the runs that are created over this connection. */
  readonly format: StateFormat;
}

export class SimulatedStore implements RunStore {
  readonly durability: Durability;
  readonly format: StateFormat;
  readonly #data: StoreData;
  readonly #wire: StoreWire;
  readonly #channel: NoteChannel;
  readonly #health: StoreHealth;
  readonly #listeners = new NoteListeners();
  readonly #leaveChannel: () => void;
  #isClosed = false;

  constructor({
    data,
    wire,
    channel,
    push = (deliver) => deliver(),
    durability,
    format,
    health,
  }: SimulatedStoreOptions) {
    this.#data = data;
    this.format = format;
    this.#wire = wire;
    this.#channel = channel;
    this.#health = health;
    this.durability = durability;
    this.#leaveChannel = channel.join((act) => push(() => act(this.#listeners)));
  }

  get state(): RunStore['state'] {
    return this.#isClosed ? 'down' : this.#health.state;
  }

  onDoubt(listener: () => void): () => void {
    return this.#health.onDoubt(listener);
  }

  clock(): Promise<number> {
    return this.#call('clock', () => this.#data.clock());
  }

  async openPartition(partition: string): Promise<Ownership> {
    checkPartition(partition);
    this.#listeners.open(partition);
    const owner = await this.#call(`open partition ${partition}`, () => {
      const opened = { partition, epoch: this.#data.openPartition(partition) };
      this.#channel.tell((listeners) => listeners.heardOpening(opened));
      return opened;
    });
    this.#listeners.opened(owner);
    return owner;
  }

  async closePartition(partition: string): Promise<void> {
    this.#listeners.close(partition);
  }

  restorePartition(owner: Ownership, runs: readonly RunRef[]): Promise<'ok' | 'fenced'> {
    checkPartition(owner.partition);
    checkCount('epoch', owner.epoch);
    return this.#call(`restore partition ${owner.partition} with ${runs.length} runs`, () =>
      this.#data.restorePartition(owner, runs),
    );
  }

  activeRuns(partition: string): Promise<readonly RunRef[]> {
    checkPartition(partition);
    return this.#call(`active runs of ${partition}`, () => this.#data.activeRuns(partition));
  }

  partitions(): Promise<readonly string[]> {
    return this.#call('partitions', () => this.#data.partitions());
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
    if ((await this.#index('add', run, owner)) === 'fenced') return { result: 'fenced' };
    const terms = { ignoresStopMark: options?.ignoreStopMark === true, format: this.format };
    const answer = await this.#call(`create ${run.runId} under ${owner.epoch}`, () => {
      const created = this.#data.create(run, owner, initial, terms);
      if (created.result !== 'exists') return created;
      const { row } = created;
      return { ...created, meta: metaOf(row), definition: row.definition, isRetired: row.retired !== undefined };
    });
    switch (answer.result) {
      case 'created':
        return { result: 'created' };
      case 'exists':
        if (answer.isRetired || answer.meta.partition !== owner.partition) await this.#index('remove', run, owner);
        return { result: 'exists', meta: answer.meta, definition: answer.definition };
      case 'stop-marked':
      case 'fenced':
        await this.#index('remove', run, owner);
        return { result: answer.result };
    }
  }

  async claim(run: RunRef, owner: Ownership): Promise<ClaimResult> {
    checkCount('epoch', owner.epoch);
    const answer = await this.#call(`claim ${run.runId} under ${owner.epoch}`, () => {
      const claimed = this.#data.claim(run, owner);
      if (claimed.result !== 'claimed') return claimed;
      const { row } = claimed;
      return { ...claimed, run: { ...storedOf(row), notes: [...row.notes] }, isRetired: row.retired !== undefined };
    });
    if (answer.result === 'unknown') {
      return { result: 'unknown-format', format: this.#data.peek(runName(run))?.format ?? 0 };
    }
    if (answer.result !== 'claimed') return { result: answer.result };
    if (answer.isRetired) {
      if ((await this.#index('add', run, owner)) === 'fenced') return { result: 'fenced' };
      const reopened = await this.#call(`reopen ${run.runId}`, () => this.#data.reopen(run, owner.epoch));
      if (reopened !== 'ok') return { result: reopened };
    }
    return { result: 'claimed', run: { ...answer.run, meta: { ...answer.run.meta, epoch: owner.epoch } } };
  }

  async commit(run: RunRef, epoch: number, revision: number, patch: RunPatch): Promise<CommitResult> {
    checkPatch(patch);
    checkCount('epoch', epoch);
    checkCount('revision', revision);
    const what = `commit ${run.runId} revision ${revision} under ${epoch}`;
    return this.#call(what, () => this.#data.commit(run, epoch, revision, patch));
  }

  readOutputs(run: RunRef, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return this.#call(`outputs of ${run.runId}`, () => {
      const outputs = this.#data.peek(runName(run))?.outputs;
      return new Map(
        names.flatMap((name) => {
          const text = outputs?.get(name);
          return text === undefined ? [] : [[name, text] as const];
        }),
      );
    });
  }

  readAllOutputs(run: RunRef): Promise<ReadonlyMap<string, string>> {
    return this.#call(`all outputs of ${run.runId}`, () => new Map(this.#data.peek(runName(run))?.outputs));
  }

  read(run: RunRef): Promise<StoredRun | undefined> {
    return this.#call(`read ${run.runId}`, () => {
      const row = this.#data.peek(runName(run));
      return row === undefined ? undefined : storedOf(row);
    });
  }

  async retire(run: RunRef, owner: Ownership, retentionMs: number): Promise<'ok' | 'fenced'> {
    const keepMs = Math.ceil(retentionMs);
    if ((await this.#index('check', run, owner)) === 'fenced') return 'fenced';
    const retired = await this.#call(`retire ${run.runId} under ${owner.epoch}`, () =>
      this.#data.retire(run, owner, keepMs, metaRetentionMs(keepMs)),
    );
    return retired === 'fenced' ? 'fenced' : this.#index('remove', run, owner);
  }

  async note(run: RunRef, partition: string, text: string): Promise<void> {
    checkPartition(partition);
    checkNote(text);
    await this.#call(`note for ${run.runId}`, () => {
      if (!this.#data.note(run, text)) return;
      this.#channel.tell((listeners) => {
        if (listeners.partitions.has(partition)) listeners.tell(run, text);
      });
    });
  }

  notes(run: RunRef): Promise<readonly string[]> {
    return this.#call(`notes of ${run.runId}`, () => [...(this.#data.peek(runName(run))?.notes ?? [])]);
  }

  onTaken(listener: (by: Ownership) => void): () => void {
    return this.#listeners.onTaken(listener);
  }

  onNote(listener: NoteListener): () => void {
    return this.#listeners.add(listener);
  }

  async markStopped(run: RunRef, ttlMs: number): Promise<void> {
    runName(run);
    await this.#call(`mark ${run.runId} stopped`, () => this.#data.markStopped(run, Math.ceil(ttlMs)));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#leaveChannel();
    this.#listeners.clear();
  }

  #index(change: 'add' | 'check' | 'remove', run: RunRef, owner: Ownership): Promise<'ok' | 'fenced'> {
    return this.#call(`index ${change} ${run.runId}`, () => this.#data.index(change, run, owner));
  }

  async #call<Result>(what: string, script: () => Result): Promise<Result> {
    if (this.#isClosed) throw new StoreUnavailable('the store was closed');
    return this.#wire(what, script);
  }
}
