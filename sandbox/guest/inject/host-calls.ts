/**
 * Calls that leave the isolate: one message out, a promise for the answer. The names of the calls are ours; a plugin
 * gives payloads only. What a refused call rejects with carries a code that only this file can give.
 */
import { jsonParse, jsonStringify, PromiseConstructor, SafeMap, SafeWeakMap } from '@flowops/sdk/primordials.ts';
import {
  CALL_TOO_MUCH,
  HOST_OP,
  type HostFunction,
  MAX_HOST_CALL_LENGTH,
  MAX_OPEN_CALLS_LENGTH,
} from '../guest-protocol.ts';

/** An error made by a host call. `code` is for the plugin to read. */
class HostCallError extends Error {
  override readonly name = 'HostCallError';
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** What fetch rejects with: a TypeError as everywhere; one that no retry can help has a name of its own. */
class FetchError extends TypeError {
  override readonly name: string;
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
    this.name = code === 'PLUGIN_ERROR' ? 'TypeError' : 'HostCallError';
  }
}

interface Waiter {
  readonly method: 'fetch' | 'secret';
  /** Made where the call was: the answer comes in from outside, where the stack holds nothing of the plugin. */
  readonly site: Error;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export interface StartedCall {
  readonly id: number;
  readonly answer: Promise<unknown>;
}

export class HostCalls {
  readonly #host: HostFunction;
  readonly #waiting = new SafeMap<number, Waiter>();
  readonly #codes = new SafeWeakMap<string>();
  #lastId = 0;

  constructor(host: HostFunction) {
    this.#host = host;
  }

  start(method: 'fetch' | 'secret', payload: unknown): StartedCall {
    const text = jsonStringify(payload);
    if (text.length > MAX_HOST_CALL_LENGTH) {
      throw new TypeError(`the ${method} call is larger than ${MAX_HOST_CALL_LENGTH} characters`);
    }
    const id = ++this.#lastId;
    const site = new Error();
    const answer = new PromiseConstructor((resolve, reject) =>
      this.#waiting.set(id, { method, site, resolve, reject }),
    );
    // Any other refusal ends the attempt; its promise stays open because nothing may go on after it.
    if (this.#host(HOST_OP.hostCall, id, method, text) === CALL_TOO_MUCH) {
      this.#waiting.delete(id);
      throw new TypeError(
        `the calls under way are larger than ${MAX_OPEN_CALLS_LENGTH} characters: make fewer at a time`,
      );
    }
    return { id, answer };
  }

  /** Nobody waits for its answer any more; the host is told. */
  abandon(id: number): void {
    if (!this.#waiting.delete(id)) return;
    this.#host(HOST_OP.hostCall, ++this.#lastId, 'abort', jsonStringify({ callId: id }));
  }

  reply(id: number, payloadJson: string): void {
    const waiter = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiter?.resolve(payloadJson === '' ? undefined : (jsonParse(payloadJson) as unknown));
  }

  replyError(id: number, code: string, message: string): void {
    const waiter = this.#waiting.get(id);
    if (waiter === undefined) return;
    this.#waiting.delete(id);
    const error = waiter.method === 'fetch' ? new FetchError(code, message) : new HostCallError(code, message);
    showSite(error, waiter.site);
    this.#codes.set(error, code);
    waiter.reject(error);
  }

  readonly codeOf = (thrown: unknown): string | undefined => this.#codes.get(thrown);
}

/** The plugin may have put its own hands on stacks: then the error keeps what it has. */
function showSite(error: Error, site: Error): void {
  try {
    const frames = site.stack?.replace(/^[^\n]*/, '');
    if (typeof frames === 'string') error.stack = `${error.name}: ${error.message}${frames}`;
  } catch {
    // an Error.prepareStackTrace that throws
  }
}
