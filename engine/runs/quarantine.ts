/**
 * The one place for suspects: steps under which sandbox hosts died more than once (scheduler/retry.ts). Of this engine,
 * one of them runs at a time, so that the next host that dies names the one, and who ran beside it is not blamed.
 */
import { SUSPECT_FROM_CRASHES } from '../scheduler/retry.ts';
import type { StepState } from '../scheduler/state.ts';

export function isSuspect(state: StepState | undefined): boolean {
  return state !== undefined && 'crashes' in state && state.crashes >= SUSPECT_FROM_CRASHES;
}

export class Quarantine {
  #inside: { readonly token: string; readonly host: string } | undefined;
  readonly #waiting = new Set<() => void>();

  /** @param onFree called once when the place is free again, if it is not now. The same function waits once. */
  isFree(onFree: () => void): boolean {
    if (this.#inside === undefined) return true;
    this.#waiting.add(onFree);
    return false;
  }

  /** @throws when it is taken: ask `isFree` first. */
  enter(suspect: { readonly token: string; readonly host: string }): void {
    if (this.#inside !== undefined) throw new Error('a suspect is running already');
    this.#inside = suspect;
  }

  /** The attempt with this token is over, or was never made. Nothing for any other. */
  leave(token: string): void {
    if (this.#inside?.token !== token) return;
    this.#inside = undefined;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const onFree of waiting) onFree();
  }

  /** Who is to blame for the death of a host under this attempt: itself, or the suspect beside it. */
  blame(attempt: { readonly token: string; readonly host: string }): 'step' | 'other' {
    return this.#inside?.host !== attempt.host || this.#inside.token === attempt.token ? 'step' : 'other';
  }
}
