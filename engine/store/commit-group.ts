/**
 * Group commit: all writes asked for in one turn of the event loop go into one transaction, so that they share one
 * sync to disk. Each has its own savepoint: one that fails undoes itself and no neighbour. Promises are settled after
 * COMMIT and never before. While another process writes, the group waits without blocking the event loop.
 */
import { setImmediate, setTimeout } from 'node:timers';

/** More would block the event loop for long; the rest goes into the next turn. */
const GROUP_MAX = 500;
/** How long other processes may keep us from writing. Theirs are short; SQLite gives the lock to anybody, not in turn. */
const BUSY_PATIENCE_MS = 10_000;
const BUSY_RETRY_MS = 10;

/** Whether the error says that another process is writing. */
export function isBusy(thrown: unknown): boolean {
  return thrown instanceof Error && 'errcode' in thrown && thrown.errcode === SQLITE_BUSY;
}

/** sqlite.org/rescode.html */
const SQLITE_BUSY = 5;

export interface Transactions {
  exec(sql: string): void;
  readonly isTransaction: boolean;
}

interface Member {
  readonly work: () => void;
  readonly settle: (outcome: Outcome) => void;
}

type Outcome = { readonly ok: true } | { readonly ok: false; readonly error: unknown };

export class CommitGroup {
  readonly #database: Transactions;
  #waiting: Member[] = [];
  #isScheduled = false;
  /** Since when another process has kept us from writing. */
  #busySince: number | undefined;

  constructor(database: Transactions) {
    this.#database = database;
  }

  /** Runs `work` in this turn's transaction. Rejects with what it threw, or with why the transaction failed. */
  add<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let value: T;
      this.#waiting.push({
        work: () => {
          value = work();
        },
        settle: (outcome) => (outcome.ok ? resolve(value) : reject(outcome.error)),
      });
      this.#schedule();
    });
  }

  /** Writes what waits now, before closing. */
  flush(): void {
    while (this.#waiting.length > 0) this.#writeGroup(this.#waiting.splice(0, GROUP_MAX));
  }

  #schedule(delayMs = 0): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const turn = () => {
      this.#isScheduled = false;
      this.#turn();
    };
    if (delayMs === 0) setImmediate(turn);
    else setTimeout(turn, delayMs);
  }

  #turn(): void {
    if (this.#waiting.length === 0) return;
    const group = this.#waiting.splice(0, GROUP_MAX);
    const isPatient = this.#busySince === undefined || performance.now() - this.#busySince < BUSY_PATIENCE_MS;
    if (this.#writeGroup(group, isPatient) === 'busy') {
      this.#busySince ??= performance.now();
      this.#waiting.unshift(...group);
      // Chance, so that processes that wait for each other do not stay in step.
      this.#schedule(1 + Math.random() * BUSY_RETRY_MS);
      return;
    }
    this.#busySince = undefined;
    if (this.#waiting.length > 0) this.#schedule();
  }

  /** `busy`: nothing was done and nobody was answered, because another process writes; only where that may be waited for. */
  #writeGroup(group: readonly Member[], isPatient = false): 'done' | 'busy' {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
    } catch (error) {
      if (isPatient && isBusy(error)) return 'busy';
      for (const member of group) member.settle({ ok: false, error });
      return 'done';
    }
    try {
      const outcomes = group.map((member) => this.#runMember(member));
      this.#database.exec('COMMIT');
      group.forEach((member, index) => {
        member.settle(outcomes[index] ?? { ok: true });
      });
    } catch (error) {
      this.#rollback();
      for (const member of group) member.settle({ ok: false, error });
    }
    return 'done';
  }

  #runMember(member: Member): Outcome {
    this.#database.exec('SAVEPOINT member');
    try {
      member.work();
      this.#database.exec('RELEASE member');
      return { ok: true };
    } catch (error) {
      // A full disk ends the whole transaction by itself; then all of the group failed.
      if (!this.#database.isTransaction) throw error;
      this.#database.exec('ROLLBACK TO member; RELEASE member');
      return { ok: false, error };
    }
  }

  #rollback(): void {
    if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
  }
}
