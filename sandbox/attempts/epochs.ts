/** The highest epoch seen of each run: a former owner's Invoke, Attach and Cancel are refused (design 5.4). Bounded. */

/** Runs that this host remembers; one that is forgotten has not been heard of for as many other runs. */
const MAX_RUNS = 100_000;

export class Epochs {
  readonly #maxRuns: number;
  /** In order of last mention. */
  readonly #highest = new Map<string, bigint>();

  constructor(maxRuns: number = MAX_RUNS) {
    this.#maxRuns = maxRuns;
  }

  /** Raises the run's epoch; false when a higher one was seen. */
  admit(flowId: string, runId: string, epoch: bigint): boolean {
    const key = `${flowId}:${runId}`;
    const highest = this.#highest.get(key);
    if (highest !== undefined && epoch < highest) return false;
    this.#highest.delete(key);
    this.#highest.set(key, epoch);
    if (this.#highest.size > this.#maxRuns) {
      const oldest = this.#highest.keys().next();
      if (!oldest.done) this.#highest.delete(oldest.value);
    }
    return true;
  }
}
