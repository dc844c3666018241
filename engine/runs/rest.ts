/**
 * When a run rests: nothing of it is under way, and nothing will happen to it by itself before a time that is known.
 * Such a run need not be in memory (design 4.5): the store holds all of it, parked-runs.ts remembers that it is there.
 *
 * RestWatch lets some time pass first, so that a run that is resumed soon is not read anew. What the store may still
 * lose can be written again only by the run that is loaded: it stays until the store has proven that it lost nothing.
 */

import type { Timer } from '../base/timers.ts';
import type { RunState } from '../scheduler/state.ts';
import { DURABLE_MARGIN_MS } from './committer.ts';
import type { RunContext } from './run-context.ts';

export type Rest =
  /** Until a command comes: a pause that has become quiet. */
  | { readonly kind: 'command' }
  /** Until a step may be tried again, or a command comes before. Epoch ms. */
  | { readonly kind: 'time'; readonly dueMs: number }
  /** Until a place is free for its next step. */
  | { readonly kind: 'place' };

/** Reading a run back costs a claim: shorter rests are spent in memory. */
export const MIN_REST_MS = 5_000;
/** Undefined: something is under way, or about to be. */
export function restOf(state: Readonly<RunState>): Rest | undefined {
  if (state.ending !== null || state.running.size > 0) return undefined;
  if (state.status === 'PAUSED') return state.isQuiescent ? { kind: 'command' } : undefined;
  if (state.status !== 'RUNNING') return undefined;
  if (state.ready.size > 0) return { kind: 'place' };
  let dueMs = Number.POSITIVE_INFINITY;
  for (const step of state.steps.values()) if (step.status === 'WAITING') dueMs = Math.min(dueMs, step.dueMs);
  return Number.isFinite(dueMs) ? { kind: 'time', dueMs } : undefined;
}

/** Whether leaving memory for it is worth while. */
export function isLongRest(rest: Rest | undefined, nowMs: number): rest is Rest {
  return rest !== undefined && (rest.kind !== 'time' || rest.dueMs - nowMs >= MIN_REST_MS);
}

export class RestWatch {
  readonly #context: Pick<RunContext, 'clock' | 'timers' | 'store'>;
  readonly #onRested: () => void;
  #timer: Timer | undefined;
  /** It had rested when it last committed, to see whether the store holds it. */
  #hasRested = false;

  /** @param onRested the run has rested for a while: it may leave memory, or first commit once more. */
  constructor(context: Pick<RunContext, 'clock' | 'timers' | 'store'>, onRested: () => void) {
    this.#context = context;
    this.#onRested = onRested;
  }

  /** The run is idle, all of it is told and acknowledged. */
  begin(rest: Rest | undefined, { isProven }: { readonly isProven: boolean }): void {
    const { clock, timers, store } = this.#context;
    const nowMs = clock.nowMs();
    const mayGo = this.#hasRested && isProven;
    this.#hasRested = false;
    if (this.#timer !== undefined || !isLongRest(rest, nowMs)) return;
    const waitMs = mayGo ? 0 : Math.max(MIN_REST_MS, store.durability.delayMs + DURABLE_MARGIN_MS);
    this.#timer = timers.arm(nowMs + waitMs, () => {
      this.#timer = undefined;
      this.#onRested();
      this.#hasRested = true;
    });
  }

  /** Something came. Idempotent. */
  end(): void {
    this.#hasRested = false;
    if (this.#timer === undefined) return;
    this.#context.timers.cancel(this.#timer);
    this.#timer = undefined;
  }
}
