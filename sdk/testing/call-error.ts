/**
 * What a refused call of `context` rejects with, as in the sandbox: an error with a code, which is the code of the step
 * when the task lets it pass. Only errors that were made here count; a task cannot claim a code.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';

const codes = new WeakMap<object, ErrorCode>();

/** @param kind fetch rejects with a TypeError, as everywhere; a secret that is not there with an Error. */
export function callError(kind: 'fetch' | 'secret', code: ErrorCode, message: string): Error {
  const error = kind === 'fetch' ? new TypeError(message) : new Error(message);
  Object.defineProperty(error, 'name', { value: 'HostCallError', configurable: true, writable: true });
  Object.defineProperty(error, 'code', { value: code, enumerable: true });
  codes.set(error, code);
  return error;
}

export function codeOf(thrown: unknown): ErrorCode | undefined {
  return typeof thrown === 'object' && thrown !== null ? codes.get(thrown) : undefined;
}
