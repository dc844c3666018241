/** The `context` of a step. Its signal is made at its first use: few steps look at it. */
import type { TaskContext } from '@flowops/sdk/context.ts';
import { isFiniteNumber, mathMax, mathMin, toText } from '@flowops/sdk/primordials.ts';
import { cut } from '@flowops/sdk/thrown.ts';
import { type GuestSettings, HOST_OP, type HostFunction } from '../guest-protocol.ts';
import { loadAbort } from './globals.ts';
import type { HostCalls } from './host-calls.ts';

const MAX_PROGRESS_LENGTH = 1000;
const MAX_SECRET_NAME_LENGTH = 128;

export class GuestContext {
  readonly context: TaskContext;
  #controller: InstanceType<ReturnType<typeof loadAbort>['AbortController']> | undefined;
  #isStopped = false;

  constructor(given: { host: HostFunction; calls: HostCalls; settings: GuestSettings }) {
    const { host, calls, settings } = given;
    const controller = () => this.#signalController();
    const context = {
      get signal() {
        return controller().signal;
      },
      fetch: async (input: unknown, init?: { readonly method?: unknown }) =>
        calls.call('fetch', { url: toText(input), method: toText(init?.method ?? 'GET') }),
      secret: async (name: unknown) => {
        if (typeof name !== 'string' || name.length > MAX_SECRET_NAME_LENGTH) {
          throw new TypeError('context.secret takes the name of a secret');
        }
        return calls.call('secret', { name });
      },
      progress: (fraction: unknown, message: unknown = '') => {
        if (!isFiniteNumber(fraction)) throw new TypeError('context.progress takes a number from 0 to 1');
        host(HOST_OP.progress, mathMax(0, mathMin(1, fraction as number)), cut(toText(message), MAX_PROGRESS_LENGTH));
      },
      idempotencyKey: settings.idempotencyKey,
      attempt: settings.attempt,
    };
    // The shapes are those of the SDK; what AbortSignal and Response really are, the polyfills decide.
    this.context = context as unknown as TaskContext;
  }

  stop(): void {
    this.#isStopped = true;
    this.#controller?.abort();
  }

  #signalController(): InstanceType<ReturnType<typeof loadAbort>['AbortController']> {
    if (this.#controller === undefined) {
      this.#controller = new (loadAbort().AbortController)();
      if (this.#isStopped) this.#controller.abort();
    }
    return this.#controller;
  }
}
