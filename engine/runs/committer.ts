/**
 * Commits of one run, one after the other, each tried until the store has it (design 4.2). A store that comes back
 * without its last moments (one that lost what was not on disk yet, or failed over) is given again what it lost: the run
 * whole as it was created or claimed, if it lost that too, and the commits since. Both are kept for as long as the store
 * may still lose them.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import { type Ownership, type RunPatch, type RunRef, StoreUnavailable } from '../store/run-store.ts';
import { mergePatches, type WholeRun } from './merge-patches.ts';
import type { RunContext } from './run-context.ts';
import { storeRetryMs } from './until-available.ts';

/** Beyond the store's own delay to disk: a restart takes a moment, and clocks differ. */
const REPLAY_MARGIN_MS = 30_000;
/** A busy run keeps at most this many; a store that lost more than these is told as an error. */
const MAX_KEPT_COMMITS = 2_000;
/** Beyond the store's own delay until what was written cannot be lost. */
export const DURABLE_MARGIN_MS = 500;
/** What a commit costs beside its texts. */
const COMMIT_OVERHEAD_BYTES = 512;

export type CommitEnd = 'committed' | 'fenced' | 'closed' | 'lost';

/** Where a run tells that its store is not as it was. */
export interface StoreTrouble {
  /** The store went back in time: its partition may have to be restored before the run. Rejects like the store. */
  readonly wentBack: (owner: Ownership) => Promise<'ok' | 'fenced'>;
  /** It was away and answers again. */
  readonly cameBack: () => void;
  /** The store refused a write of this owner. */
  readonly fenced: (owner: Ownership) => void;
  /** The run could not be written again. */
  readonly lost: (run: RunRef, problem: string) => void;
}

export interface CommitterOptions {
  readonly run: RunRef;
  readonly owner: Ownership;
  /** Of the store's copy. */
  readonly revision: number;
  readonly context: Pick<RunContext, 'store' | 'log' | 'clock' | 'pause' | 'signal' | 'keptBytes'>;
  readonly trouble: StoreTrouble;
}

interface KeptCommit {
  /** That it followed. */
  readonly revision: number;
  readonly patch: RunPatch;
  readonly bytes: number;
  readonly atMs: number;
}

interface Base extends KeptCommit {
  readonly patch: WholeRun;
}

export class Committer {
  readonly #options: CommitterOptions;
  readonly #kept: KeptCommit[] = [];
  /** The run whole at the revision at which `#kept` begins; absent once the store cannot lose that any more. */
  #base: Base | undefined;
  #revision: number;
  #writtenAtMs: number;
  #isProven: boolean;
  #repairs = 0;

  /** @param whole the run as it is at the revision given */
  constructor(options: CommitterOptions, whole: WholeRun) {
    const { revision, context } = options;
    this.#options = options;
    this.#revision = revision;
    this.#writtenAtMs = context.clock.nowMs();
    this.#isProven = context.store.durability.delayMs === 0;
    if (this.#isProven) return;
    const bytes = bytesOf(whole);
    if (context.keptBytes.take(bytes)) this.#base = { revision, patch: whole, bytes, atMs: this.#writtenAtMs };
  }

  /** How often the store was given again what it had lost. */
  get repairs(): number {
    return this.#repairs;
  }

  /** When the store can lose nothing more of what was written, epoch ms. */
  get durableAtMs(): number {
    const { delayMs } = this.#options.context.store.durability;
    return delayMs === 0 ? this.#writtenAtMs : this.#writtenAtMs + delayMs + DURABLE_MARGIN_MS;
  }

  /** The store can lose nothing of the run any more: it answered a commit without changes after all else was on disk. */
  get isProven(): boolean {
    return this.#isProven;
  }

  /** `fenced`: another owner has the run. `lost`: the store has no such run or an older one than can be repaired. */
  async commit(patch: RunPatch): Promise<CommitEnd> {
    const { clock, store } = this.#options.context;
    const isLate = clock.nowMs() >= this.durableAtMs;
    const repairs = this.#repairs;
    const end = await this.#tryUntilTaken(patch);
    if (end === 'committed') {
      const isProof = isLate && repairs === this.#repairs && changesNothing(patch);
      this.#isProven = isProof || store.durability.delayMs === 0;
      this.#writtenAtMs = clock.nowMs();
      this.#keep(this.#revision, patch);
      this.#revision++;
    }
    return end;
  }

  /** Forgets what was kept. Idempotent. */
  close(): void {
    while (this.#kept.length > 0) this.#forgetOldest();
    this.#forgetBase();
  }

  async #tryUntilTaken(patch: RunPatch): Promise<CommitEnd> {
    const { run, owner, context } = this.#options;
    const { store, log, pause, signal } = context;
    for (let attempt = 0; ; attempt++) {
      if (signal.aborted) return 'closed';
      try {
        const answer = await store.commit(run, owner.epoch, this.#revision, patch);
        if (attempt > 0) this.#cameBack();
        if (answer.result === 'ok') return 'committed';
        if (answer.result === 'fenced') return 'fenced';
        const repaired = await this.#repair(answer.result === 'missing' ? 0 : answer.revision);
        if (repaired !== 'committed') return repaired;
      } catch (thrown) {
        if (!(thrown instanceof StoreUnavailable)) throw thrown;
        if (attempt === 0) log.warn({ ...run }, `a commit waits for the store: ${messageOf(thrown)}`);
        await pause(storeRetryMs(attempt), signal);
      }
    }
  }

  /** Whoever has nothing to commit would find late that the store lost something while it was away. */
  #cameBack(): void {
    const { run, context, trouble } = this.#options;
    context.log.info({ ...run }, 'the store took the commit after all');
    if (context.store.durability.delayMs > 0) trouble.cameBack();
  }

  /** Brings the store from revision `stored` (0: it has no such run) to ours. */
  async #repair(stored: number): Promise<CommitEnd> {
    const { run, owner, context, trouble } = this.#options;
    if ((await trouble.wentBack(owner)) === 'fenced') return 'fenced';
    const firstKept = this.#kept[0]?.revision ?? this.#revision;
    const needsWhole = stored < firstKept;
    if (needsWhole && (this.#base === undefined || this.#base.revision !== firstKept)) {
      const problem = `the store went back from revision ${this.#revision} to ${stored}, further than can be repaired`;
      return this.#lose(problem);
    }
    const lost = { from: stored, to: this.#revision };
    context.log.warn({ ...run, ...lost }, 'the store lost its last commits; they are written again');
    if (needsWhole && this.#base !== undefined) {
      const result = await this.#writeWhole(stored, this.#base);
      if (result === 'fenced') return 'fenced';
      if (result !== 'ok') return this.#lose(`writing the run whole again gave ${result}`);
    }
    for (const { revision, patch } of this.#kept) {
      if (revision < stored) continue;
      const { result } = await context.store.commit(run, owner.epoch, revision, patch);
      if (result === 'fenced') return 'fenced';
      if (result !== 'ok') return this.#lose(`writing revision ${revision} again gave ${result}`);
    }
    this.#writtenAtMs = context.clock.nowMs();
    this.#repairs++;
    return 'committed';
  }

  /**
   * In place of revision `stored`; what follows it has other revisions from then on. A run as it was claimed goes with all
   * commits since, so that the store never holds less than was told; as it was created, they follow.
   */
  async #writeWhole(stored: number, base: Base): Promise<string> {
    const { run, owner, context } = this.#options;
    const isClaimed = base.patch.outboxFrom !== undefined;
    const kept = this.#kept.map(({ patch }) => patch);
    const whole = isClaimed ? mergePatches(base.patch, kept) : base.patch;
    if (stored > 0) {
      const { result } = await context.store.commit(run, owner.epoch, stored, whole);
      if (result !== 'ok') return result;
    } else {
      const answer = await context.store.create(run, owner, whole, { ignoreStopMark: true });
      // It was written by an earlier try whose answer was lost.
      const isThere =
        answer.result === 'exists' &&
        answer.meta.partition === owner.partition &&
        answer.meta.epoch === owner.epoch &&
        answer.meta.revision === 1;
      if (answer.result !== 'created' && !isThere) return answer.result;
    }
    if (isClaimed) this.#beginAnew(stored + 1, whole);
    else this.#renumber(stored + 1 - base.revision);
    return 'ok';
  }

  /** The store holds all of it in one write, and may lose that again. */
  #beginAnew(revision: number, whole: WholeRun): void {
    const { clock, keptBytes } = this.#options.context;
    this.close();
    this.#revision = revision;
    const bytes = bytesOf(whole);
    if (keptBytes.take(bytes)) this.#base = { revision, patch: whole, bytes, atMs: clock.nowMs() };
  }

  #renumber(by: number): void {
    if (this.#base !== undefined) this.#base = { ...this.#base, revision: this.#base.revision + by };
    for (const [index, kept] of this.#kept.entries()) this.#kept[index] = { ...kept, revision: kept.revision + by };
    this.#revision += by;
  }

  #keep(revision: number, patch: RunPatch): void {
    const { clock, store, keptBytes } = this.#options.context;
    const { delayMs } = store.durability;
    if (delayMs === 0) return;
    const nowMs = clock.nowMs();
    const oldMs = nowMs - delayMs - REPLAY_MARGIN_MS;
    if (this.#base !== undefined && this.#base.atMs < oldMs) this.#forgetBase();
    while (this.#kept.length >= MAX_KEPT_COMMITS || (this.#kept[0]?.atMs ?? nowMs) < oldMs) this.#forgetOldest();
    const bytes = bytesOf(patch);
    while (!keptBytes.take(bytes)) {
      if (this.#kept.length === 0) {
        this.#forgetBase(); // others have all there is: it cannot be written again
        return;
      }
      this.#forgetOldest();
    }
    this.#kept.push({ revision, patch, bytes, atMs: nowMs });
  }

  #forgetOldest(): void {
    const oldest = this.#kept.shift();
    if (oldest !== undefined) this.#options.context.keptBytes.release(oldest.bytes);
  }

  #forgetBase(): void {
    if (this.#base !== undefined) this.#options.context.keptBytes.release(this.#base.bytes);
    this.#base = undefined;
  }

  #lose(problem: string): 'lost' {
    this.#options.trouble.lost(this.#options.run, problem);
    return 'lost';
  }
}

/** But for what was acknowledged: without that, events are told once more. */
function changesNothing({ definition, meta = {}, steps, outputs, events }: RunPatch): boolean {
  const changed = [definition, steps, outputs, events].some((part) => part !== undefined);
  return !changed && Object.keys(meta).length === 0;
}

function bytesOf({ definition = '', meta = {}, steps = {}, outputs = {}, events = [] }: RunPatch): number {
  let bytes = COMMIT_OVERHEAD_BYTES + definition.length;
  for (const texts of [Object.values(meta), Object.values(steps), Object.values(outputs), events]) {
    for (const text of texts) bytes += text.length;
  }
  return bytes;
}
