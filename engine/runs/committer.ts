/**
 * Commits of one run, one after the other, each tried until the store has it (design 4.2). A store that comes back
 * without its last moments (one that lost what was not on disk yet, or failed over) is given the missing commits again,
 * in order, the creating one included: the recent ones are kept for as long as the store may still lose them.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import { type Ownership, type RunPatch, type RunRef, StoreUnavailable } from '../store/run-store.ts';
import type { RunContext } from './run-context.ts';
import { storeRetryMs } from './until-available.ts';

/** Beyond the store's own delay to disk: a restart takes a moment, and clocks differ. */
const REPLAY_MARGIN_MS = 30_000;
/** A busy run keeps at most this many; a store that lost more than these is told as an error. */
const MAX_KEPT_COMMITS = 2_000;
/** What a commit costs beside its texts. */
const COMMIT_OVERHEAD_BYTES = 512;

export type CommitEnd = 'committed' | 'fenced' | 'closed' | 'lost';

/** The write that created the run. */
export type CreatingWrite = RunPatch & { readonly definition: string };

/** Where a run tells that its store is not as it was. */
export interface StoreTrouble {
  /** The store went back in time: its partition may have to be restored before the run. Rejects like the store. */
  readonly wentBack: (owner: Ownership) => Promise<'ok' | 'fenced'>;
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
  readonly created?: CreatingWrite;
  readonly context: Pick<RunContext, 'store' | 'log' | 'clock' | 'pause' | 'signal' | 'keptBytes'>;
  readonly trouble: StoreTrouble;
}

interface KeptCommit {
  /** That it followed; 0 = the creating one. */
  readonly revision: number;
  readonly patch: RunPatch;
  readonly bytes: number;
  readonly atMs: number;
}

export class Committer {
  readonly #options: CommitterOptions;
  readonly #kept: KeptCommit[] = [];
  #revision: number;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.#revision = options.revision;
    if (options.created !== undefined) this.#keep(0, options.created);
  }

  /** `fenced`: another owner has the run. `lost`: the store has no such run or an older one than can be repaired. */
  async commit(patch: RunPatch): Promise<CommitEnd> {
    const end = await this.#commitAt(this.#revision, patch);
    if (end === 'committed') {
      this.#keep(this.#revision, patch);
      this.#revision++;
    }
    return end;
  }

  /** Forgets what was kept. Idempotent. */
  close(): void {
    while (this.#kept.length > 0) this.#forgetOldest();
  }

  async #commitAt(revision: number, patch: RunPatch): Promise<CommitEnd> {
    const { run, owner, context } = this.#options;
    const { store, log, pause, signal } = context;
    for (let attempt = 0; ; attempt++) {
      if (signal.aborted) return 'closed';
      try {
        const answer = await store.commit(run, owner.epoch, revision, patch);
        if (attempt > 0) log.info({ ...run }, 'the store took the commit after all');
        if (answer.result === 'ok') return 'committed';
        if (answer.result === 'fenced') return 'fenced';
        const repaired = await this.#repair(answer.result === 'missing' ? 0 : answer.revision, revision);
        if (repaired !== 'committed') return repaired;
      } catch (thrown) {
        if (!(thrown instanceof StoreUnavailable)) throw thrown;
        if (attempt === 0) log.warn({ ...run }, `a commit waits for the store: ${messageOf(thrown)}`);
        await pause(storeRetryMs(attempt), signal);
      }
    }
  }

  /** Gives the store the commits from `stored` (0: it has no such run) up to, not including, `revision` again. */
  async #repair(stored: number, revision: number): Promise<CommitEnd> {
    const { run, owner, context, trouble } = this.#options;
    if ((await trouble.wentBack(owner)) === 'fenced') return 'fenced';
    const missing = this.#kept.filter((kept) => kept.revision >= stored && kept.revision < revision);
    if (missing.length !== revision - stored) {
      return this.#lose(`the store went back from revision ${revision} to ${stored}, further than can be repaired`);
    }
    context.log.warn({ ...run, from: stored, to: revision }, 'the store lost its last commits; they are written again');
    for (const kept of missing) {
      const result = kept.revision === 0 ? await this.#createAgain() : await this.#commitAgain(kept);
      if (result === 'fenced') return 'fenced';
      if (result !== 'ok') return this.#lose(`writing revision ${kept.revision} again gave ${result}`);
    }
    return 'committed';
  }

  async #createAgain() {
    const { run, owner, context, created } = this.#options;
    if (created === undefined) return 'missing';
    const answer = await context.store.create(run, owner, created, { ignoreStopMark: true });
    // It was written by an earlier try whose answer was lost.
    const isThere = answer.result === 'created' || (answer.result === 'exists' && answer.meta.epoch === owner.epoch);
    return isThere ? 'ok' : answer.result;
  }

  async #commitAgain({ revision, patch }: KeptCommit) {
    const { run, owner, context } = this.#options;
    return (await context.store.commit(run, owner.epoch, revision, patch)).result;
  }

  #keep(revision: number, patch: RunPatch): void {
    const { clock, store, keptBytes } = this.#options.context;
    const { delayMs } = store.durability;
    if (delayMs === 0) return;
    const nowMs = clock.nowMs();
    const keepMs = delayMs + REPLAY_MARGIN_MS;
    while (this.#kept.length >= MAX_KEPT_COMMITS || (this.#kept[0]?.atMs ?? nowMs) < nowMs - keepMs)
      this.#forgetOldest();
    const bytes = bytesOf(patch);
    while (!keptBytes.take(bytes)) {
      if (this.#kept.length === 0) return; // others have all there is: this one cannot be written again
      this.#forgetOldest();
    }
    this.#kept.push({ revision, patch, bytes, atMs: nowMs });
  }

  #forgetOldest(): void {
    const oldest = this.#kept.shift();
    if (oldest !== undefined) this.#options.context.keptBytes.release(oldest.bytes);
  }

  #lose(problem: string): 'lost' {
    this.#options.trouble.lost(this.#options.run, problem);
    return 'lost';
  }
}

function bytesOf({ definition = '', meta = {}, steps = {}, outputs = {}, events = [] }: RunPatch): number {
  let bytes = COMMIT_OVERHEAD_BYTES + definition.length;
  for (const texts of [Object.values(meta), Object.values(steps), Object.values(outputs), events]) {
    for (const text of texts) bytes += text.length;
  }
  return bytes;
}
