/** Runs work on one key in the order of the calls, work on different keys at the same time. */

export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Gives what the work gives; one that fails holds up nothing. */
  run<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    return this.#enqueue(key, work, work);
  }

  /** As `run`, but when one fails, all that wait behind it fail with it: they have to be given again, in order. */
  runInOrder<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    return this.#enqueue(key, work, (thrown) => Promise.reject(thrown));
  }

  async #enqueue<Result>(
    key: string,
    work: () => Promise<Result>,
    afterFailure: (thrown: unknown) => Promise<Result>,
  ): Promise<Result> {
    const before = this.#tails.get(key);
    const mine = before === undefined ? work() : before.then(work, afterFailure);
    this.#tails.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(key) === mine) this.#tails.delete(key);
    }
  }
}
