/**
 * What a simulated store holds, as the real ones hold it on Redis: an index and an epoch per partition, and runs, each
 * of these changed by one atomic script at a time (a call here is one script). Nothing waits and nothing fails here; who
 * calls over which wire is simulated-store.ts's business.
 *
 * It can lose its last moments: of each key apart, since the keys of a cluster lie on different nodes.
 */
import { nextEpoch, runName } from '@flowops/engine/store/keys.ts';
import type { Ownership, RunMeta, RunPatch, RunRef, StoredRun } from '@flowops/engine/store/run-store.ts';
import { isStateFormat, NOTES_MAX, type StateFormat } from '@flowops/engine/store/run-store.ts';

export interface Row {
  readonly ref: RunRef;
  readonly format: number;
  readonly partition: string;
  epoch: number;
  revision: number;
  /** Commits of this epoch begin at this revision. */
  since: number;
  head: number;
  definition: string;
  fields: Map<string, string>;
  steps: Map<string, string>;
  outputs: Map<string, string>;
  outbox: string[];
  notes: string[];
  retired: { readonly dataUntilMs: number; readonly metaUntilMs: number } | undefined;
}

/** What there is under a run's name while there is no run: a stop mark, a fence against a former owner's create. */
interface Marks {
  stopUntilMs: number;
  fence: { readonly partition: string; readonly epoch: number; readonly untilMs: number } | undefined;
}

interface Partition {
  epoch: number;
  readonly active: Map<string, RunRef>;
}

type Key = { readonly kind: 'partition' | 'run' | 'marks'; readonly name: string };

interface Undo {
  readonly key: Key;
  readonly atMs: number;
  readonly back: () => void;
}

/** Sees every change; what a checker needs. */
export interface StoreWitness {
  created?(row: Row, patch: RunPatch): void;
  /** `former`: the records before, of the steps that the patch changes. */
  committed?(before: Row, after: Row, patch: RunPatch, former: ReadonlyMap<string, string>): void;
  claimed?(row: Row, formerEpoch: number): void;
  retired?(row: Row): void;
  /** A key was put back to how it was before `atMs`. */
  wentBack?(row: Row | undefined, name: string): void;
}

const FENCE_MS = 60_000;

export class StoreData {
  readonly #now: () => number;
  readonly #partitions = new Map<string, Partition>();
  readonly #runs = new Map<string, Row>();
  readonly #marks = new Map<string, Marks>();
  readonly #undo: Undo[] = [];
  readonly #keptMs: number;
  witness: StoreWitness = {};

  /** @param keptMs how far back it can be put */
  constructor(options: { now: () => number; keptMs: number }) {
    this.#now = options.now;
    this.#keptMs = options.keptMs;
  }

  clock(): number {
    return Math.floor(this.#now());
  }

  /** The run as it is, for reading only. */
  peek(name: string): Row | undefined {
    return this.#find(name);
  }

  rows(): Iterable<Row> {
    return this.#runs.values();
  }

  partitionEpoch(partition: string): number {
    return this.#partitions.get(partition)?.epoch ?? 0;
  }

  openPartition(partition: string): number {
    const epoch = nextEpoch(partition, Math.max(this.partitionEpoch(partition) + 1, this.clock()));
    this.#changePartition(partition).epoch = epoch;
    return epoch;
  }

  partitions(): readonly string[] {
    return [...this.#partitions.keys()];
  }

  activeRuns(partition: string): readonly RunRef[] {
    return [...(this.#partitions.get(partition)?.active.values() ?? [])];
  }

  index(change: 'add' | 'check' | 'remove', run: RunRef, owner: Ownership): 'ok' | 'fenced' {
    if (owner.epoch < this.partitionEpoch(owner.partition)) return 'fenced';
    if (change === 'check') return 'ok';
    const partition = this.#changePartition(owner.partition);
    partition.epoch = owner.epoch;
    const name = runName(run);
    if (change === 'remove') partition.active.delete(name);
    else if (!partition.active.has(name)) partition.active.set(name, run);
    return 'ok';
  }

  restorePartition(owner: Ownership, runs: readonly RunRef[]): 'ok' | 'fenced' {
    if (owner.epoch < this.partitionEpoch(owner.partition)) return 'fenced';
    const partition = this.#changePartition(owner.partition);
    partition.epoch = owner.epoch;
    for (const run of runs) if (!partition.active.has(runName(run))) partition.active.set(runName(run), run);
    return 'ok';
  }

  create(
    run: RunRef,
    owner: Ownership,
    initial: RunPatch & { readonly definition: string },
    options: { readonly ignoresStopMark: boolean; readonly format: StateFormat },
  ): { result: 'created' | 'stop-marked' | 'fenced' } | { result: 'exists'; row: Row } {
    const name = runName(run);
    const known = this.#find(name);
    if (known !== undefined) return { result: 'exists', row: known };
    const marks = this.#marks.get(name);
    const fence = marks?.fence;
    const isFenceUp = fence !== undefined && fence.untilMs > this.#now() && fence.partition === owner.partition;
    if (isFenceUp && fence.epoch > owner.epoch) return { result: 'fenced' };
    if (!options.ignoresStopMark && (marks?.stopUntilMs ?? 0) > this.clock()) return { result: 'stop-marked' };
    this.#change({ kind: 'marks', name });
    this.#marks.delete(name);
    this.#change({ kind: 'run', name });
    const row: Row = {
      ref: run,
      format: options.format,
      partition: owner.partition,
      epoch: owner.epoch,
      revision: 1,
      since: 1,
      head: initial.outboxFrom ?? 1,
      definition: initial.definition,
      fields: new Map(),
      steps: new Map(),
      outputs: new Map(),
      outbox: [],
      notes: [],
      retired: undefined,
    };
    put(row, initial);
    this.#runs.set(name, row);
    this.witness.created?.(row, initial);
    return { result: 'created' };
  }

  claim(run: RunRef, owner: Ownership): { result: 'claimed'; row: Row } | { result: 'missing' | 'fenced' | 'unknown' } {
    const name = runName(run);
    const row = this.#find(name);
    if (row === undefined) {
      const fence = this.#marks.get(name)?.fence;
      if (fence === undefined || fence.partition !== owner.partition || fence.epoch < owner.epoch) {
        const untilMs = this.#now() + FENCE_MS;
        this.#changeMarks(name).fence = { partition: owner.partition, epoch: owner.epoch, untilMs };
      }
      return { result: 'missing' };
    }
    if (!isStateFormat(row.format)) return { result: 'unknown' };
    if (row.partition !== owner.partition || owner.epoch < row.epoch) return { result: 'fenced' };
    // A retired run gets the epoch when it is opened again, once the partition has vouched for the caller.
    return { result: 'claimed', row: row.retired === undefined ? this.#raise(row, owner.epoch) : row };
  }

  #raise(row: Row, epoch: number): Row {
    if (epoch <= row.epoch) return row;
    const former = row.epoch;
    const changed = this.#changeRun(row);
    changed.since = row.revision;
    changed.epoch = epoch;
    this.witness.claimed?.(changed, former);
    return changed;
  }

  /** After a claim of a retired run that was put into the index again. */
  reopen(run: RunRef, epoch: number): 'ok' | 'fenced' | 'missing' {
    const row = this.#find(runName(run));
    if (row === undefined) return 'missing';
    if (epoch < row.epoch) return 'fenced';
    this.#changeRun(this.#raise(row, epoch)).retired = undefined;
    return 'ok';
  }

  commit(
    run: RunRef,
    epoch: number,
    revision: number,
    patch: RunPatch,
  ): { result: 'ok' | 'fenced' | 'missing' } | { result: 'behind'; revision: number } {
    const row = this.#find(runName(run));
    if (row === undefined) return { result: 'missing' };
    if (epoch < row.epoch) return { result: 'fenced' };
    if (revision > row.revision) return { result: 'behind', revision: row.revision };
    if (revision < row.revision) return { result: epoch === row.epoch && revision >= row.since ? 'ok' : 'fenced' };
    if (row.retired !== undefined) return { result: 'missing' };
    const former = formerOf(row.steps, patch.steps);
    const changed = this.#changeRun(row, patch);
    if (epoch > row.epoch) changed.since = row.revision;
    changed.epoch = epoch;
    const last = changed.head + changed.outbox.length - 1;
    if (patch.outboxFrom !== undefined) {
      changed.outbox = [];
      changed.head = patch.outboxFrom;
    } else if (patch.acknowledged !== undefined) {
      const gone = Math.max(0, Math.min(patch.acknowledged, last) - changed.head + 1);
      changed.outbox.splice(0, gone);
      changed.head += gone;
    }
    put(changed, patch);
    changed.definition = patch.definition ?? changed.definition;
    changed.revision++;
    this.witness.committed?.(
      row,
      changed,
      patch,
      new Map(former.flatMap(([id, text]) => (text === undefined ? [] : [[id, text]]))),
    );
    return { result: 'ok' };
  }

  retire(run: RunRef, owner: Ownership, dataMs: number, metaMs: number): 'ok' | 'fenced' {
    const row = this.#find(runName(run));
    if (row === undefined) return 'ok';
    if (row.partition !== owner.partition || owner.epoch < row.epoch) return 'fenced';
    if (row.retired === undefined) {
      const now = this.clock();
      const changed = this.#changeRun(row);
      changed.retired = { dataUntilMs: now + dataMs, metaUntilMs: now + metaMs };
      this.witness.retired?.(changed);
    }
    return 'ok';
  }

  /** @returns whether there was a run to note it with */
  note(run: RunRef, text: string): boolean {
    const row = this.#find(runName(run));
    if (row === undefined || row.retired !== undefined) return false;
    const changed = this.#changeRun(row);
    changed.notes = [...changed.notes, text].slice(-NOTES_MAX);
    return true;
  }

  markStopped(run: RunRef, ttlMs: number): void {
    const name = runName(run);
    if (this.#find(name) !== undefined) return;
    const marks = this.#changeMarks(name);
    marks.stopUntilMs = Math.max(marks.stopUntilMs, this.clock() + ttlMs);
  }

  /** Forgets what was written within the last `lostMs`, of the keys for which `isLost`. */
  goBack(lostMs: number, isLost: (key: Key) => boolean): void {
    const sinceMs = this.#now() - lostMs;
    const kept: Undo[] = [];
    const touched = new Map<string, Key>();
    for (let entry = this.#undo.pop(); entry !== undefined && entry.atMs >= sinceMs; entry = this.#undo.pop()) {
      if (!isLost(entry.key)) {
        kept.unshift(entry);
        continue;
      }
      entry.back();
      touched.set(`${entry.key.kind} ${entry.key.name}`, entry.key);
    }
    this.#undo.push(...kept);
    for (const { kind, name } of touched.values()) if (kind === 'run') this.witness.wentBack?.(this.#find(name), name);
  }

  #find(name: string): Row | undefined {
    const row = this.#runs.get(name);
    if (row?.retired === undefined) return row;
    const now = this.clock();
    if (row.retired.metaUntilMs <= now) return undefined;
    if (row.retired.dataUntilMs > now) return row;
    const nothing = { definition: '', steps: new Map(), outputs: new Map(), outbox: [], notes: [] };
    return { ...row, ...nothing, head: row.head + row.outbox.length };
  }

  /**
   * A copy in the place of the row, so that the former can be put back. The maps are the same ones, however large: of them
   * only what the patch changes is kept.
   */
  #changeRun(row: Row, patch: RunPatch = {}): Row {
    const name = runName(row.ref);
    const former = [
      [row.fields, formerOf(row.fields, patch.meta)],
      [row.steps, formerOf(row.steps, patch.steps)],
      [row.outputs, formerOf(row.outputs, patch.outputs)],
    ] as const;
    this.#change({ kind: 'run', name }, () => {
      for (const [map, entries] of former) for (const [key, text] of entries) restore(map, key, text);
    });
    const copy: Row = { ...row, outbox: [...row.outbox] };
    this.#runs.set(name, copy);
    return copy;
  }

  #changePartition(name: string): Partition {
    this.#change({ kind: 'partition', name });
    const before = this.#partitions.get(name);
    const copy = { epoch: before?.epoch ?? 0, active: new Map(before?.active) };
    this.#partitions.set(name, copy);
    return copy;
  }

  #changeMarks(name: string): Marks {
    this.#change({ kind: 'marks', name });
    const copy = { stopUntilMs: 0, fence: undefined, ...this.#marks.get(name) };
    this.#marks.set(name, copy);
    return copy;
  }

  /** @param alsoBack puts back what is not in the map's entry itself */
  #change(key: Key, alsoBack: () => void = () => undefined): void {
    if (this.#keptMs === 0) return;
    const map: Map<string, unknown> = { partition: this.#partitions, run: this.#runs, marks: this.#marks }[key.kind];
    const before = map.get(key.name);
    const back = () => {
      alsoBack();
      restore(map, key.name, before);
    };
    this.#undo.push({ key, atMs: this.#now(), back });
    while ((this.#undo[0]?.atMs ?? this.#now()) < this.#now() - this.#keptMs) this.#undo.shift();
  }
}

function restore<Value>(map: Map<string, Value>, key: string, value: Value | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

/** What a patch is about to replace. */
function formerOf(
  map: ReadonlyMap<string, string>,
  patch: Readonly<Record<string, string>> = {},
): readonly (readonly [string, string | undefined])[] {
  return Object.keys(patch).map((name) => [name, map.get(name)] as const);
}

function put(row: Row, patch: RunPatch): void {
  for (const [name, value] of Object.entries(patch.meta ?? {})) row.fields.set(name, value);
  for (const [name, value] of Object.entries(patch.steps ?? {})) row.steps.set(name, value);
  for (const [name, value] of Object.entries(patch.outputs ?? {})) row.outputs.set(name, value);
  row.outbox.push(...(patch.events ?? []));
}

export function metaOf(row: Row): RunMeta {
  const { format, partition, epoch, revision, head } = row;
  return { format, partition, epoch, revision, outboxHead: head, fields: Object.fromEntries(row.fields) };
}

export function storedOf(row: Row): StoredRun {
  return { meta: metaOf(row), definition: row.definition, steps: new Map(row.steps), outbox: [...row.outbox] };
}
