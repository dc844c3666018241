/**
 * The runs of this engine that are not in memory: those that rest (parked-runs.ts) and those for which there is no room
 * (backlog.ts). Brings them in when their time has come and there is room.
 */
import { runKey } from '@flowops/proto/statuses.ts';
import type { RunState } from '../scheduler/state.ts';
import type { Ownership, RunRef } from '../store/run-store.ts';
import { Backlog, type WaitingRun } from './backlog.ts';
import type { RunRecord } from './codec.ts';
import { ParkedRuns } from './parked-runs.ts';
import type { Rest } from './rest.ts';
import type { RunContext } from './run-context.ts';

/** Runs on their way from the backlog into memory. */
const MAX_CONCURRENT_LOADS = 64;

export interface AwayRunsOptions {
  readonly context: Pick<RunContext, 'timers' | 'signal' | 'log'>;
  /** How many more runs may be in memory. */
  readonly room: () => number;
  /** Brings one into memory, where it still belongs to this engine. */
  readonly load: (ref: RunRef, owner: Ownership) => Promise<void>;
}

export class AwayRuns {
  readonly #options: AwayRunsOptions;
  readonly #backlog = new Backlog();
  readonly #parked: ParkedRuns;
  #loading = 0;

  constructor(options: AwayRunsOptions) {
    this.#options = options;
    this.#parked = new ParkedRuns(options.context.timers, (due) => this.wait(due));
  }

  /** Runs that wait for room. */
  get queuedCount(): number {
    return this.#backlog.size;
  }

  /** Runs that rest until a command or their time comes. */
  get parkedCount(): number {
    return this.#parked.size;
  }

  isParked(ref: RunRef): boolean {
    return this.#parked.get(runKey(ref)) !== undefined;
  }

  /** Of the bundles that parked runs pin; a digest may come more than once. */
  digests(): Generator<string> {
    return this.#parked.digests();
  }

  /** Of this owner, parked or waiting for room. */
  *refsOf(owner: Ownership): Generator<RunRef> {
    for (const run of this.#parked.all()) if (run.owner === owner) yield run.ref;
    for (const run of this.#backlog.all()) if (run.owner === owner) yield run.ref;
  }

  park(run: { ref: RunRef; owner: Ownership; state: Readonly<RunState>; record: RunRecord }, rest: Rest): void {
    const { ref, owner, record } = run;
    const digests = run.state.definition.plugins.map(({ digest }) => digest);
    const dueMs = rest.kind === 'time' ? rest.dueMs : undefined;
    this.#parked.park({ ref, owner, priority: record.priority, createdMs: record.createdMs, digests, dueMs });
  }

  /** The run comes into memory when there is room. */
  wait(run: WaitingRun): void {
    this.#backlog.push(run);
    this.admit();
  }

  /** The run was found in the store, or is not there any more: it does not rest. */
  forget(ref: RunRef): void {
    this.#parked.take(runKey(ref));
  }

  /** There may be room. */
  admit(): void {
    const { context, room, load } = this.#options;
    while (this.#loading < MAX_CONCURRENT_LOADS && room() > this.#loading && !context.signal.aborted) {
      const next = this.#backlog.pop();
      if (next === undefined) return;
      this.#loading++;
      void load(next.ref, next.owner)
        .catch((thrown) => context.log.error({ ...next.ref, err: thrown }, 'a run that waited could not be loaded'))
        .finally(() => {
          this.#loading--;
          this.admit();
        });
    }
  }

  /** They have another owner now; what waits in the backlog is passed over when its turn comes. */
  dropPartitions(partitions: ReadonlySet<string>): void {
    this.#parked.dropPartitions(partitions);
  }

  dropAll(): void {
    this.#parked.dropAll();
  }
}
