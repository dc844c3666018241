/** The attempts that no caller stands for: each ends when the lease of its last caller is over, unless somebody attaches. */

/** Of all former callers: as many as two connections may have. A caller that makes more by leaving them ends them. */
const MAX_UNOWNED = 4_096;

export class Unowned {
  readonly #timers = new Map<string, NodeJS.Timeout>();

  /** @param endsAtMs as performance.now() counts */
  add(key: string, endsAtMs: number, onOver: () => void): void {
    this.delete(key);
    const leftMs = this.#timers.size >= MAX_UNOWNED ? 0 : endsAtMs - performance.now();
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        onOver();
      },
      Math.max(0, leftMs),
    );
    this.#timers.set(key, timer);
  }

  delete(key: string): void {
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
  }

  /** Idempotent. */
  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
