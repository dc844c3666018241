/**
 * How many requests of one attempt are under way at a time. The rest waits its turn, in order; who would wait beyond
 * the bounds is turned away. Holds no request, only its size.
 */

export interface GateLimits {
  readonly maxOpen: number;
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
}

export type Turn = 'go' | 'full' | 'aborted';

interface Waiter {
  readonly bytes: number;
  readonly go: () => void;
}

export class CallGate {
  readonly #limits: GateLimits;
  readonly #waiting = new Set<Waiter>();
  #waitingBytes = 0;
  #open = 0;

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  /** After `go` the caller MUST call `leave` once. `bytes`: what the request holds while it waits. */
  enter(bytes: number, signal: AbortSignal): Promise<Turn> {
    if (signal.aborted) return Promise.resolve('aborted');
    if (this.#open < this.#limits.maxOpen) {
      this.#open++;
      return Promise.resolve('go');
    }
    const { maxWaiting, maxWaitingBytes } = this.#limits;
    if (this.#waiting.size >= maxWaiting || this.#waitingBytes + bytes > maxWaitingBytes)
      return Promise.resolve('full');
    return new Promise((resolve) => {
      const stop = (): void => {
        this.#drop(waiter);
        resolve('aborted');
      };
      const waiter: Waiter = {
        bytes,
        go: () => {
          signal.removeEventListener('abort', stop);
          resolve('go');
        },
      };
      signal.addEventListener('abort', stop, { once: true });
      this.#waiting.add(waiter);
      this.#waitingBytes += bytes;
    });
  }

  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#open--;
      return;
    }
    // Its place passes on.
    this.#drop(next);
    next.go();
  }

  #drop(waiter: Waiter): void {
    if (this.#waiting.delete(waiter)) this.#waitingBytes -= waiter.bytes;
  }
}
