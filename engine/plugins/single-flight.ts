/**
 * Work that several callers want at the same time is done once. Each caller may give up alone; the work itself is
 * aborted only when nobody waits for it any more.
 */
interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiting: number;
}

export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** @param onAbort what a caller gets whose own signal fires. */
  run(key: string, signal: AbortSignal, onAbort: () => T, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (signal.aborted) return Promise.resolve(onAbort());
    const flight = this.#flights.get(key) ?? this.#begin(key, work);
    flight.waiting++;
    return new Promise((resolve, reject) => {
      let hasLeft = false;
      const leave = () => {
        if (hasLeft) return;
        hasLeft = true;
        signal.removeEventListener('abort', giveUp);
        flight.waiting--;
      };
      const giveUp = () => {
        leave();
        if (flight.waiting === 0) {
          this.#forget(key, flight);
          flight.controller.abort(signal.reason);
        }
        resolve(onAbort());
      };
      signal.addEventListener('abort', giveUp, { once: true });
      flight.result.then(resolve, reject).finally(leave);
    });
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const flight: Flight<T> = { controller, waiting: 0, result: work(controller.signal) };
    this.#flights.set(key, flight);
    const forget = () => this.#forget(key, flight);
    flight.result.then(forget, forget);
    return flight;
  }

  #forget(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
