/**
 * The standing of an engine in its consumer group: good while the group answered a heartbeat (or took us in) that was
 * sent less than 4 s ago. The group gives our partitions away only 6 s after the last one it got, so whoever looks here
 * before it acts does not act as a former owner.
 *
 * Invariants:
 *   G1. What counts is when the heartbeat was sent, not when its answer was read: a process that was stopped finds old
 *       answers in its sockets when it wakes.
 *   G2. `isGood` is worked out at each look. Listeners learn that it ended from a timer, that it came back from the
 *       heartbeat itself.
 */
import type { Pause } from '../base/pause.ts';
import type { Standing } from '../base/standing.ts';

/** Two seconds less than a session: for the clocks, and for what was decided just before (design 4.1). */
export const STANDING_MS = 4000;

export interface GroupStandingOptions {
  /** Milliseconds; monotonic. */
  readonly now: () => number;
  readonly pause: Pause;
}

export class GroupStanding implements Standing {
  readonly #options: GroupStandingOptions;
  readonly #listeners = new Set<() => void>();
  readonly #heardWaiters = new Set<() => void>();
  readonly #closing = new AbortController();
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #isWatching = false;

  constructor(options: GroupStandingOptions) {
    this.#options = options;
  }

  get isGood(): boolean {
    return this.ageMs < STANDING_MS;
  }

  /** Since the last heartbeat that was answered was sent; infinite before the first and after the group was left. */
  get ageMs(): number {
    return this.#options.now() - this.#sentAtMs;
  }

  /** Before the first join, and after the group was left. */
  get hasLeft(): boolean {
    return this.#sentAtMs === Number.NEGATIVE_INFINITY;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param sentAtMs when the request was sent that the group has answered well */
  heard(sentAtMs: number): void {
    if (sentAtMs <= this.#sentAtMs || this.#closing.signal.aborted) return;
    const wasGood = this.isGood;
    this.#sentAtMs = sentAtMs;
    for (const wake of this.#heardWaiters) wake();
    if (!this.isGood) return;
    if (!wasGood) this.#tell();
    void this.#watch();
  }

  /** The group was left: not good until it takes us in again. */
  left(): void {
    const wasGood = this.isGood;
    this.#sentAtMs = Number.NEGATIVE_INFINITY;
    if (wasGood) this.#tell();
  }

  /** Resolves when a heartbeat was answered that was sent after this call, or when the signal aborts. */
  async heardAnew(signal: AbortSignal): Promise<void> {
    const sinceMs = this.#options.now();
    while (this.#sentAtMs <= sinceMs && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#heardWaiters.add(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
      this.#heardWaiters.delete(resolve);
    }
  }

  /** Ends the timer. Idempotent. */
  close(): void {
    this.left();
    this.#closing.abort();
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** One wait at a time, as long as it is good: each ends when the last heartbeat known at its beginning is too old. */
  async #watch(): Promise<void> {
    if (this.#isWatching) return;
    this.#isWatching = true;
    const { signal } = this.#closing;
    while (this.isGood && !signal.aborted) await this.#options.pause(STANDING_MS - this.ageMs, signal);
    this.#isWatching = false;
    if (!this.hasLeft) this.#tell();
  }
}
