/** Runs work on one key in the order of the calls, work on different keys at the same time. */

export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Gives what the work gives; one that fails holds up nothing. */
  async run<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#tails.get(key);
    const mine = before === undefined ? work() : before.then(work, work);
    this.#tails.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(key) === mine) this.#tails.delete(key);
    }
  }
}
