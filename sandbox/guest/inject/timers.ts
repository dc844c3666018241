/**
 * setTimeout, setInterval and queueMicrotask. The clock is the worker's: it calls `fire(id)`. What a callback throws
 * ends the step, as it would end a process.
 */
import { reflectApply, resolved, SafeMap, uncurriedThen } from '@flowops/sdk/primordials.ts';
import { HOST_OP, type HostFunction } from '../guest-protocol.ts';

/** Beyond this a timer of Node fires at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

type Callback = (...values: unknown[]) => unknown;
interface Timer {
  readonly callback: Callback;
  readonly values: unknown[];
  readonly delayMs: number;
  readonly isRepeated: boolean;
}

export class GuestTimers {
  readonly #host: HostFunction;
  readonly #onThrown: (thrown: unknown) => void;
  readonly #timers = new SafeMap<number, Timer>();
  #lastId = 0;

  constructor(host: HostFunction, onThrown: (thrown: unknown) => void) {
    this.#host = host;
    this.#onThrown = onThrown;
  }

  readonly setTimeout = (callback: unknown, delay?: unknown, ...values: unknown[]): number =>
    this.#set(callback, delay, values, false);

  readonly setInterval = (callback: unknown, delay?: unknown, ...values: unknown[]): number =>
    this.#set(callback, delay, values, true);

  readonly clearTimeout = (id?: unknown): void => {
    if (typeof id === 'number' && this.#timers.delete(id)) this.#host(HOST_OP.clearTimer, id);
  };

  readonly queueMicrotask = (callback: unknown): void => {
    if (typeof callback !== 'function') throw new TypeError('queueMicrotask: the callback is not a function');
    uncurriedThen(resolved(), () => this.#call(callback as Callback, []));
  };

  fire(id: number): void {
    const timer = this.#timers.get(id);
    if (timer === undefined) return;
    if (!timer.isRepeated) this.#timers.delete(id);
    this.#call(timer.callback, timer.values);
    if (timer.isRepeated && this.#timers.has(id)) this.#host(HOST_OP.setTimer, id, timer.delayMs);
  }

  #set(callback: unknown, delay: unknown, values: unknown[], isRepeated: boolean): number {
    if (typeof callback !== 'function') throw new TypeError('the callback of a timer is not a function');
    const asked = typeof delay === 'number' ? delay : Number(delay ?? 0);
    const delayMs = asked > 0 ? (asked < MAX_DELAY_MS ? asked : MAX_DELAY_MS) : 0;
    const id = this.#lastId + 1;
    if (this.#host(HOST_OP.setTimer, id, delayMs) === 1) throw new RangeError('too many timers are waiting');
    this.#lastId = id;
    this.#timers.set(id, { callback: callback as Callback, values, delayMs, isRepeated });
    return id;
  }

  #call(callback: Callback, values: unknown[]): void {
    try {
      reflectApply(callback, undefined, values);
    } catch (thrown) {
      this.#onThrown(thrown);
    }
  }
}
