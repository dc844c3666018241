/**
 * Tells those who follow a run in this process that something new of it is in the store. Rung at every publication; who
 * listens misses no ring, also while busy reading what the last one told of.
 */
export class RunBell {
  readonly #listeners = new Map<string, Set<Listener>>();

  listen(key: string): RunListener {
    const listener = new Listener(() => this.#leave(key, listener));
    const known = this.#listeners.get(key);
    if (known === undefined) this.#listeners.set(key, new Set([listener]));
    else known.add(listener);
    return listener;
  }

  ring(key: string): void {
    for (const listener of this.#listeners.get(key) ?? []) listener.ring();
  }

  #leave(key: string, listener: Listener): void {
    const listeners = this.#listeners.get(key);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#listeners.delete(key);
  }
}

export interface RunListener {
  /** Resolves at the next ring, or at once when there was one since the last call. @throws the signal's reason */
  rung(signal: AbortSignal): Promise<void>;
  stop(): void;
}

class Listener implements RunListener {
  readonly stop: () => void;
  #isRung = false;
  #wake: () => void = () => {};

  constructor(stop: () => void) {
    this.stop = stop;
  }

  ring(): void {
    this.#isRung = true;
    this.#wake();
  }

  async rung(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#isRung) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const onAbort = () => reject(signal.reason);
      this.#wake = resolve;
      signal.addEventListener('abort', onAbort, { once: true });
      await promise.finally(() => signal.removeEventListener('abort', onAbort));
    }
    this.#isRung = false;
  }
}
