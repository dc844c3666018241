/**
 * Group commit: all writes asked for in one turn of the event loop go into one transaction, so that they share one
 * sync to disk. Each has its own savepoint: one that fails undoes itself and no neighbour. Promises are settled after
 * COMMIT and never before.
 */
import { setImmediate } from 'node:timers';

/** More would block the event loop for long; the rest goes into the next turn. */
const GROUP_MAX = 500;

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
      if (this.#isScheduled) return;
      this.#isScheduled = true;
      setImmediate(() => this.#turn());
    });
  }

  /** Writes what waits now, before closing. */
  flush(): void {
    while (this.#waiting.length > 0) this.#writeGroup(this.#waiting.splice(0, GROUP_MAX));
  }

  #turn(): void {
    this.#isScheduled = false;
    this.#writeGroup(this.#waiting.splice(0, GROUP_MAX));
    if (this.#waiting.length === 0 || this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#turn());
  }

  #writeGroup(group: readonly Member[]): void {
    if (group.length === 0) return;
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      const outcomes = group.map((member) => this.#runMember(member));
      this.#database.exec('COMMIT');
      group.forEach((member, index) => {
        member.settle(outcomes[index] ?? { ok: true });
      });
    } catch (error) {
      this.#rollback();
      for (const member of group) member.settle({ ok: false, error });
    }
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
