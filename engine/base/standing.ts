/**
 * Whether this engine may act for what it holds, as far as it can know by itself: its membership was confirmed a short
 * while ago. While it is not good nothing is sent, no step starts, and attempts on hosts that only this engine
 * reaches are cancelled (design 4.1): another engine may hold its runs already.
 */

export interface Standing {
  readonly isGood: boolean;
  /** Calls back after each change. @returns ends the listening */
  onChange(listener: () => void): () => void;
}

/** Of an engine that shares its runs with nobody. */
export const ALWAYS_GOOD: Standing = { isGood: true, onChange: () => () => undefined };

/** Resolves when it is good, or when the signal aborts. */
export async function untilGood(standing: Standing, signal: AbortSignal): Promise<void> {
  while (!standing.isGood && !signal.aborted) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    const unsubscribe = standing.onChange(wake);
    signal.addEventListener('abort', wake, { once: true });
    await promise;
    unsubscribe();
    signal.removeEventListener('abort', wake);
  }
}
