/**
 * The way to one address of SANDBOX_URL: connects, says Hello, and connects again when that ends, with backoff, for as
 * long as the engine lives. What a connection is used for is its owner's business.
 */

import type { SandboxAddress, TlsIdentity } from '@flowops/proto/sandbox-address.ts';
import { type ConnectedHost, connectSandboxHost } from '@flowops/proto/sandbox-client.ts';
import { pause } from '../base/pause.ts';
import type { Log } from '../log.ts';
import { dial } from './dial.ts';

const FIRST_RETRY_MS = 100;
/** Well within a lease: a host that comes back finds its attempts attached to. */
const MAX_RETRY_MS = 3_000;
/** Engines that lost one host do not all come back in one moment. */
const JITTER = 0.5;
/** A host that cannot be reached is told at first and then about once a minute. */
const TELL_EACH = 20;

export interface HostLinkOptions {
  readonly address: SandboxAddress;
  readonly identity: TlsIdentity | undefined;
  /** This engine, for the host's log. */
  readonly instance: string;
  /** Whether this engine still stands by its attempts. */
  readonly vouches: () => boolean;
  /** False: another address leads to the same host, and this connection is not needed. */
  readonly onOpen: (connection: ConnectedHost) => boolean;
  readonly onClosed: () => void;
  readonly log: Log;
  readonly random?: () => number;
}

export class HostLink {
  readonly address: string;
  readonly #options: HostLinkOptions;
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;
  #connection: ConnectedHost | undefined;
  /** Why there is none. */
  #problem = 'it was not reached yet';

  constructor(options: HostLinkOptions) {
    this.#options = options;
    this.address = options.address.text;
    this.#running = this.#run();
  }

  get connection(): ConnectedHost | undefined {
    return this.#connection;
  }

  get problem(): string {
    return this.#problem;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#connection?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    for (let failures = 0; !signal.aborted; failures++) {
      const connected = await this.#connect();
      if (connected.ok) {
        if (await this.#use(connected.host, failures % TELL_EACH === 0)) failures = -1;
      } else {
        this.#problem = connected.message;
        if (failures % TELL_EACH === 0 && !signal.aborted) {
          const { log } = this.#options;
          log.error({ address: this.address }, `a sandbox host cannot be reached: ${connected.message}; trying again`);
        }
      }
      const backoffMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(Math.max(0, failures), 10));
      const random = this.#options.random ?? Math.random;
      await pause(backoffMs * (1 - JITTER * random()), signal);
    }
  }

  /** Until the connection ends; false when it was not needed. */
  async #use(connection: ConnectedHost, isTold: boolean): Promise<boolean> {
    const { onOpen, onClosed, log } = this.#options;
    const { instance } = connection;
    if (!onOpen(connection)) {
      this.#problem = `it leads to host ${instance}, which another address leads to as well`;
      const told = 'two addresses of SANDBOX_URL lead to one sandbox host; one is enough';
      if (isTold) log.warn({ address: this.address, instance }, told);
      await connection.close();
      return false;
    }
    this.#connection = connection;
    log.info({ address: this.address, instance }, 'a sandbox host is connected');
    const { reason } = await connection.closed;
    this.#connection = undefined;
    this.#problem = reason;
    if (!this.#abort.signal.aborted) {
      log.warn(
        { address: this.address, instance },
        `the connection to a sandbox host ended (${reason}); connecting again`,
      );
    }
    onClosed();
    return true;
  }

  async #connect() {
    const { address, identity, instance, vouches } = this.#options;
    const { signal } = this.#abort;
    const dialled = await dial(address, identity, signal);
    if (!dialled.ok) return dialled;
    const connected = await connectSandboxHost({
      ...{ stream: dialled.stream, role: 'engine', instance, vouches, signal },
      isShared: true,
    });
    if (connected.ok || address.kind !== 'tls') return connected;
    // What a certificate that is not on the list looks like from here.
    const hint = "does its SANDBOX_CLIENTS name this engine's certificate?";
    return { ok: false, message: `${connected.message} (${hint})` } as const;
  }
}
