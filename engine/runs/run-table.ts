/**
 * The runs of this engine in memory: entered when they are created or claimed, gone when they are retired, rest, or have
 * another owner. Knows those that are away too (away-runs.ts), and gives a store that went back in time all of them.
 *
 * Invariants:
 *   V1. A run is in memory at most once; creating and loading of one run never overlap (`lock`).
 *   V3. At most `maxActiveRuns` are in memory, but for those that commands came for; others wait in the store, by
 *       priority, then age. A run that rests (rest.ts) is not among them: it is parked.
 *   V4. A run is entered only while its partition is held under the epoch it was claimed with.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import { runKey } from '@flowops/proto/statuses.ts';
import { KeyedLock } from '../base/keyed-lock.ts';
import { isFinalRun } from '../scheduler/state.ts';
import { type Ownership, type RunRef, StoreDamaged } from '../store/run-store.ts';
import { ActiveRun } from './active-run.ts';
import { AwayRuns } from './away-runs.ts';
import { DURABLE_MARGIN_MS, type StoreTrouble } from './committer.ts';
import { judgeStart } from './judge-start.ts';
import { type LoadedRun, loadRun, outputsSince } from './load-run.ts';
import { type OwnedPartitions, PartitionLost } from './owned-partitions.ts';
import { isLongRest, type Rest, restOf } from './rest.ts';
import type { RunContext } from './run-context.ts';
import { StoreRepair } from './store-repair.ts';
import type { RunMessage } from './turn.ts';
import { untilAvailable } from './until-available.ts';

/** Runs claimed from the store at the same time during recovery. */
const MAX_CONCURRENT_CLAIMS = 64;

export interface RunTableOptions {
  readonly context: RunContext;
  readonly owners: OwnedPartitions;
  readonly maxActiveRuns: number;
  /** The store refused a write of this owner. */
  readonly onFenced: (owner: Ownership) => void;
}

/** Finished runs that wait until the store cannot lose their end; beyond it the oldest do not wait. */
const MAX_FINISHED_RUNS = 5_000;

/** How a run comes into memory. */
export interface Entry {
  readonly loaded: LoadedRun;
  /** Of a queued run: its flow is being checked already. */
  readonly judged?: Promise<RunMessage | undefined>;
  /** Created by this engine just now: there is nothing to take up. */
  readonly isNew?: boolean;
}

export class RunTable {
  readonly #options: RunTableOptions;
  readonly #context: RunContext;
  readonly #runs = new Map<string, ActiveRun>();
  /** Of these, those that have ended and are not retired. */
  readonly #finished = new Set<ActiveRun>();
  readonly #locks = new KeyedLock();
  readonly #trouble: StoreTrouble;
  /** Hand-overs that are under way. */
  readonly #lettingGo = new Set<Promise<void>>();
  readonly away: AwayRuns;
  readonly repair: StoreRepair;
  /** Runs of a format that this release does not know: not touched (design 4.2). */
  unknownFormats = 0;
  /** Runs that a store lost and that could not be written again. */
  lostRuns = 0;

  constructor(options: RunTableOptions) {
    const { context, maxActiveRuns } = options;
    this.#options = options;
    this.#context = context;
    this.away = new AwayRuns({
      context,
      room: () => maxActiveRuns - this.size,
      load: (ref, owner) => this.#takeUp(ref, owner),
    });
    this.repair = new StoreRepair(context, {
      refsOf: (owner) => [...this.#refsOf(owner)],
      verifyAll: () => {
        const looked = [...this.#runs.values()].map(
          (run) => new Promise<void>((resolve) => run.post({ kind: 'verify', onVerified: resolve })),
        );
        return Promise.all(looked).then(() => undefined);
      },
      lookAtIndexes: () => {
        for (const owner of options.owners.all()) void this.#lookAtIndex(owner);
      },
    });
    this.#trouble = {
      wentBack: (owner) => this.repair.restore(owner),
      cameBack: () => this.repair.verify(),
      fenced: (owner) => options.onFenced(owner),
      lost: (run, problem) => {
        this.lostRuns++;
        context.log.error({ ...run }, `${problem}; the run is left as it is`);
      },
    };
  }

  /** Runs in memory that have not ended. */
  get size(): number {
    return this.#runs.size - this.#finished.size;
  }

  get hasRoom(): boolean {
    return this.size < this.#options.maxActiveRuns;
  }

  get(ref: RunRef): ActiveRun | undefined {
    return this.#runs.get(runKey(ref));
  }

  all(): IterableIterator<ActiveRun> {
    return this.#runs.values();
  }

  /** Nothing else is created or loaded under this run's name meanwhile. */
  lock<Result>(ref: RunRef, work: () => Promise<Result>): Promise<Result> {
    return this.#locks.run(runKey(ref), work);
  }

  /** Takes up the runs of a partition that was opened. Resolves when all are claimed. */
  async recover(refs: readonly RunRef[], owner: Ownership): Promise<void> {
    const { clock, log } = this.#context;
    const beganMs = clock.nowMs();
    const queue = refs.entries();
    const workers = Array.from({ length: Math.min(MAX_CONCURRENT_CLAIMS, refs.length) }, async () => {
      for (const [age, ref] of queue) {
        if (!this.#options.owners.holds(owner)) return;
        if (this.hasRoom) await this.#takeUp(ref, owner);
        // What it is worth is in the store; the order of the index, which is that of their STARTs, has to do.
        else this.away.wait({ ref, owner, priority: 0, createdMs: age });
      }
    });
    await Promise.all(workers);
    const ms = clock.nowMs() - beganMs;
    if (refs.length > 0) log.info({ partition: owner.partition, runs: refs.length, ms }, 'the runs are recovered');
  }

  /**
   * Claims a run and takes it up; call it inside `lock`. Undefined when there is nothing to take up.
   * @param options.mayRest one that rests is parked instead
   * @throws PartitionLost, StoreDamaged when what is stored cannot be read
   */
  async load(ref: RunRef, owner: Ownership, options: { mayRest?: boolean } = {}): Promise<ActiveRun | undefined> {
    const { store, retentionMs, clock, leaseMs } = this.#context;
    const claim = await store.claim(ref, owner);
    if (!this.#options.owners.holds(owner)) throw new PartitionLost(owner.partition);
    this.away.forget(ref);
    switch (claim.result) {
      case 'fenced':
        return this.#refused(ref, owner);
      case 'missing':
        await store.retire(ref, owner, retentionMs); // an index entry without keys
        return undefined;
      case 'unknown-format':
        this.unknownFormats++;
        throw new StoreDamaged(`it was written in format ${claim.format}, by another release`);
      case 'claimed':
        break;
    }
    const nowMs = clock.nowMs();
    const loaded = await this.#withOutputs(ref, loadRun(ref, claim.run, { nowMs, leaseMs }), nowMs);
    const isOnDisk = store.durability.delayMs === 0;
    if (isFinalRun(loaded.state) && loaded.unsent.length === 0 && isOnDisk) {
      await store.retire(ref, owner, retentionMs);
      return undefined;
    }
    const rest = loaded.unsent.length === 0 ? restOf(loaded.state) : undefined;
    // Where the store may still lose something, only a run in memory can write it again.
    if (options.mayRest === true && isOnDisk && rest?.kind !== 'place' && isLongRest(rest, nowMs)) {
      this.away.park({ ref, owner, state: loaded.state, record: loaded.record }, rest);
      return undefined;
    }
    return this.enter(ref, owner, { loaded });
  }

  enter(ref: RunRef, owner: Ownership, { loaded, judged, isNew }: Entry): ActiveRun {
    const { queued, unsent, notes, revision, ...known } = loaded;
    const run: ActiveRun = new ActiveRun({
      ...{ ref, owner, revision, ...known },
      context: this.#context,
      trouble: this.#trouble,
      onGone: (letGo) => this.#leave(run, letGo),
      onRest: (rest) => this.#rest(run, rest),
      onFinished: () => this.#finish(run),
    });
    this.#runs.set(run.key, run);
    if (run.isFinished) this.#finish(run);
    if (isNew !== true) run.resumeWork(unsent, notes);
    if (queued !== undefined) {
      const judging = judged ?? judgeStart(ref, queued, this.#context);
      void judging.then((message) => message !== undefined && run.post(message));
    }
    return run;
  }

  /** They have another owner, or are taken up anew. */
  dropPartitions(partitions: ReadonlySet<string>): void {
    this.away.dropPartitions(partitions);
    for (const run of [...this.#runs.values()]) if (partitions.has(run.owner.partition)) run.drop();
  }

  dropAll(): void {
    this.away.dropAll();
    for (const run of [...this.#runs.values()]) run.drop();
  }

  /** Resolves when the ends of all attempts that runs let go of are noted. */
  async allLetGo(): Promise<void> {
    while (this.#lettingGo.size > 0) await Promise.all(this.#lettingGo);
  }

  /** Never rejects: what is not found now is found by the next owner. */
  async #lookAtIndex(owner: Ownership): Promise<void> {
    const { store, log, signal } = this.#context;
    try {
      const refs = await untilAvailable(() => store.activeRuns(owner.partition), this.#context);
      const known = new Set([...this.#refsOf(owner)].map(runKey));
      for (const ref of refs) if (!known.has(runKey(ref))) await this.#takeUp(ref, owner);
    } catch (thrown) {
      if (!signal.aborted)
        log.warn({ partition: owner.partition }, `its index was not looked at: ${messageOf(thrown)}`);
    }
  }

  /** Brings a run into memory for which no command waits, unless it rests. */
  async #takeUp(ref: RunRef, owner: Ownership): Promise<void> {
    const { log } = this.#context;
    const load = async () => {
      if (!this.#runs.has(runKey(ref)) && this.#options.owners.holds(owner)) {
        await this.load(ref, owner, { mayRest: true });
      }
    };
    try {
      await this.lock(ref, () => untilAvailable(load, this.#context));
    } catch (thrown) {
      if (thrown instanceof PartitionLost) return;
      if (!(thrown instanceof StoreDamaged)) throw thrown;
      log.error({ ...ref, err: thrown }, `the run is not touched: ${messageOf(thrown)}`);
    }
  }

  /** Either the run has another home and its index entry here is a leftover, or a newer owner has the partition. */
  async #refused(ref: RunRef, owner: Ownership): Promise<undefined> {
    const { store, log } = this.#context;
    const stored = await store.read(ref);
    if (stored !== undefined && stored.meta.partition !== owner.partition) {
      log.debug({ ...ref, home: stored.meta.partition }, 'the run has another home');
      return undefined;
    }
    this.#options.onFenced(owner);
    throw new PartitionLost(owner.partition);
  }

  /** The whole run with the outputs that the store may still lose (the claim does not read any). */
  async #withOutputs(ref: RunRef, loaded: LoadedRun, nowMs: number): Promise<LoadedRun> {
    const { store } = this.#context;
    const { delayMs } = store.durability;
    const names = delayMs === 0 ? [] : outputsSince(loaded.state, nowMs - delayMs - DURABLE_MARGIN_MS);
    if (names.length === 0) return loaded;
    const outputs = Object.fromEntries(await store.readOutputs(ref, names));
    return { ...loaded, whole: { ...loaded.whole, outputs } };
  }

  /** It has ended, and makes room for another. */
  #finish(run: ActiveRun): void {
    this.#finished.add(run);
    const [oldest] = this.#finished;
    if (this.#finished.size > MAX_FINISHED_RUNS) oldest?.retireSoon();
    this.away.admit();
  }

  #leave(run: ActiveRun, letGo: Promise<void>): void {
    this.#finished.delete(run);
    if (this.#runs.get(run.key) === run) this.#runs.delete(run.key);
    this.#lettingGo.add(letGo);
    void letGo.finally(() => this.#lettingGo.delete(letGo));
    if (run.isFinished) this.#context.onRunEnded?.(run.ref);
    this.away.admit();
  }

  /** The run leaves memory; where it only waits for a place, then when commands have brought in more than there is room for. */
  #rest(run: ActiveRun, rest: Rest): void {
    if (rest.kind !== 'place') {
      this.away.park(run, rest);
      run.drop();
    } else if (this.size > this.#options.maxActiveRuns) {
      run.drop();
      this.away.wait({ ref: run.ref, owner: run.owner, priority: run.priority, createdMs: run.record.createdMs });
    }
  }

  *#refsOf(owner: Ownership): Generator<RunRef> {
    for (const run of this.#runs.values()) if (run.owner === owner) yield run.ref;
    yield* this.away.refsOf(owner);
  }
}
