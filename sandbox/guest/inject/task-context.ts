/** The `context` of a step. Its signal is made at its first use: few steps look at it. */
import { MAX_SECRET_NAME_LENGTH } from '@flowops/proto/host-call-limits.ts';
import type { TaskContext } from '@flowops/sdk/context.ts';
import { isFiniteNumber, mathMax, mathMin, toText } from '@flowops/sdk/primordials.ts';
import { cut } from '@flowops/sdk/thrown.ts';
import { type GuestSettings, HOST_OP, type HostFunction } from '../guest-protocol.ts';
import type { FetchGlobals } from './fetch/fetch.ts';
import type { HostCalls } from './host-calls.ts';
import type { LazyFetch } from './lazy-fetch.ts';
import { loadAbort } from './polyfills.ts';

const MAX_PROGRESS_LENGTH = 1000;

export class GuestContext {
  readonly context: TaskContext;
  #controller: InstanceType<ReturnType<typeof loadAbort>['AbortController']> | undefined;
  #isStopped = false;

  readonly #fetch: LazyFetch;

  constructor(given: { host: HostFunction; calls: HostCalls; fetch: LazyFetch; settings: GuestSettings }) {
    const { host, calls, fetch, settings } = given;
    this.#fetch = fetch;
    const controller = () => this.#signalController();
    const context = {
      get signal() {
        return controller().signal;
      },
      fetch: (input: unknown, init?: Parameters<FetchGlobals['fetch']>[1]) => fetch.get().fetch(input, init),
      secret: async (name: unknown) => {
        if (typeof name !== 'string' || name === '' || name.length > MAX_SECRET_NAME_LENGTH) {
          throw new TypeError('context.secret takes the name of a secret');
        }
        return ((await calls.start('secret', { name }).answer) as { readonly value: string }).value;
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
    // A fetch that nobody bound to the signal would hold up the end of the step.
    this.#fetch.abortAll(() => this.#signalController().signal.reason);
  }

  #signalController(): InstanceType<ReturnType<typeof loadAbort>['AbortController']> {
    if (this.#controller === undefined) {
      this.#controller = new (loadAbort().AbortController)();
      if (this.#isStopped) this.#controller.abort();
    }
    return this.#controller;
  }
}
