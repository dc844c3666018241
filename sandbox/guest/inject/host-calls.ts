/**
 * Calls that leave the isolate: one message out, a promise for the answer. The names of the calls are ours; a plugin
 * gives payloads only. What a refused call rejects with carries a code that only this file can give.
 */
import { jsonParse, jsonStringify, PromiseConstructor, SafeMap, SafeWeakMap } from '@flowops/sdk/primordials.ts';
import { HOST_OP, type HostFunction, MAX_HOST_CALL_LENGTH } from '../guest-protocol.ts';

/** An error made by a host call. `code` is for the plugin to read. */
class HostCallError extends Error {
  override readonly name = 'HostCallError';
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

interface Waiter {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class HostCalls {
  readonly #host: HostFunction;
  readonly #waiting = new SafeMap<number, Waiter>();
  readonly #codes = new SafeWeakMap<string>();
  #lastId = 0;

  constructor(host: HostFunction) {
    this.#host = host;
  }

  call(method: 'fetch' | 'secret', payload: unknown): Promise<unknown> {
    return new PromiseConstructor((resolve, reject) => {
      const text = jsonStringify(payload);
      if (text.length > MAX_HOST_CALL_LENGTH) {
        throw new TypeError(`the ${method} call is larger than ${MAX_HOST_CALL_LENGTH} characters`);
      }
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve, reject });
      // A refused call ends the attempt; its promise stays open because nothing may go on after it.
      this.#host(HOST_OP.hostCall, id, method, text);
    });
  }

  reply(id: number, payloadJson: string): void {
    const waiter = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiter?.resolve(payloadJson === '' ? undefined : (jsonParse(payloadJson) as unknown));
  }

  replyError(id: number, code: string, message: string): void {
    const waiter = this.#waiting.get(id);
    this.#waiting.delete(id);
    const error = new HostCallError(code, message);
    this.#codes.set(error, code);
    waiter?.reject(error);
  }

  readonly codeOf = (thrown: unknown): string | undefined => this.#codes.get(thrown);
}
