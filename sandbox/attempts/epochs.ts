/** The highest epoch seen of each run: a former owner's Invoke, Attach and Cancel are refused (design 5.4). Bounded. */

/** Runs that this host remembers; one that is forgotten has not been heard of for as many other runs. */
const MAX_RUNS = 100_000;
/** Of their names, about a byte each: as many runs with names of UUIDs. Longer names are a caller's own loss. */
const MAX_NAMES_LENGTH = 8 * 1024 * 1024;

export class Epochs {
  readonly #maxRuns: number;
  readonly #maxNamesLength: number;
  /** In order of last mention. */
  readonly #highest = new Map<string, bigint>();
  #namesLength = 0;

  constructor(maxRuns: number = MAX_RUNS, maxNamesLength: number = MAX_NAMES_LENGTH) {
    this.#maxRuns = maxRuns;
    this.#maxNamesLength = maxNamesLength;
  }

  /** Raises the run's epoch; false when a higher one was seen. */
  admit(flowId: string, runId: string, epoch: bigint): boolean {
    const key = `${flowId}:${runId}`;
    const highest = this.#highest.get(key);
    if (highest !== undefined && epoch < highest) return false;
    if (!this.#highest.delete(key)) this.#namesLength += key.length;
    this.#highest.set(key, epoch);
    for (const oldest of this.#highest.keys()) {
      if (oldest === key || (this.#highest.size <= this.#maxRuns && this.#namesLength <= this.#maxNamesLength)) break;
      this.#highest.delete(oldest);
      this.#namesLength -= oldest.length;
    }
    return true;
  }
}
