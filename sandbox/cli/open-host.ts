/** The sandbox host of a command: started when first asked for, closed with the command. */
import type { OpenedSandbox } from '@flowops/sdk/build/build-result.ts';

/** The policy of a host that a command starts. */
export type HostPolicy = { readonly kind: 'developer' } | { readonly kind: 'file'; readonly file: string };

export class CommandHost {
  readonly #start: () => Promise<OpenedSandbox>;
  #opened: Promise<OpenedSandbox> | undefined;
  #isClosed = false;

  constructor(start: () => Promise<OpenedSandbox>) {
    this.#start = start;
  }

  /** One that has ended is started anew: a watch outlives its host. */
  open(): Promise<OpenedSandbox> {
    this.#opened ??= this.#openNew();
    return this.#opened;
  }

  async #openNew(): Promise<OpenedSandbox> {
    const opened = await this.#start();
    if (opened.ok) void opened.host.closed.then(() => this.#forget());
    return opened;
  }

  #forget(): void {
    if (!this.#isClosed) this.#opened = undefined;
  }

  /** It will be needed: starts it while the caller does other things. A failure is told by `open`. */
  prepare(): void {
    this.open().catch(() => undefined);
  }

  /** Ends the host and what runs in it. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const opened = await this.#opened?.catch(() => undefined); // whoever opened it was told
    if (opened?.ok === true) await opened.host.close();
  }
}
