/** A list that somebody else fills, and the wait for what is going to be in it. No polling: each new item is looked at. */

/** Far longer than anything here takes on a busy machine; a wait that ends by it has failed. */
const PATIENCE_MS = 60_000;

export class Growing<T> {
  readonly #items: T[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #describe: () => string;
  #end: string | undefined;

  /** @param describe what a wait in vain tells beside its own words. */
  constructor(describe: () => string = () => '') {
    this.#describe = describe;
  }

  get items(): readonly T[] {
    return this.#items;
  }

  push(item: T): void {
    this.#items.push(item);
    for (const look of [...this.#waiting]) look();
  }

  /** Nothing more will come: waits end in vain at once. */
  end(why: string): void {
    this.#end ??= why;
    for (const look of [...this.#waiting]) look();
  }

  /** What `find` gives, once it gives something. @throws when the list ended, or after 60 s. */
  until<R>(what: string, find: (items: readonly T[]) => R | undefined): Promise<R> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const fail = (why: string) => {
        settle();
        reject(new Error(`waited in vain for ${what} (${why})\n${this.#describe()}`));
      };
      const look = () => {
        const found = find(this.#items);
        if (found !== undefined) {
          settle();
          resolve(found);
        } else if (this.#end !== undefined) {
          fail(this.#end);
        }
      };
      const timer = setTimeout(() => fail(`${PATIENCE_MS / 1000} s`), PATIENCE_MS);
      this.#waiting.add(look);
      look();
    });
  }
}
