/**
 * A sandbox host that runs on its own, by its instance, whatever happens to the connection to it: attempts that it has
 * survive a cut (kept-attempt.ts), new ones are given to it only while it is connected. Who makes connections is
 * host-link.ts; one at a time is used.
 */
import type { AttachResult, Attempt, AttemptListener, AttemptRequest, SandboxHost } from '@flowops/proto/attempt.ts';
import type { ConnectedHost } from '@flowops/proto/sandbox-client.ts';
import { type AttemptName, KeptAttempt, startedOnce } from './kept-attempt.ts';

/** Its clock, and the moments it takes to kill. */
const LEASE_MARGIN_MS = 1_000;
/** The shares of a host whose cores are not known. */
const UNKNOWN_CORES = 1;

export interface SharedHostOptions {
  readonly connection: ConnectedHost;
  /** For a host that does not tell its lease. */
  readonly leaseMs: number;
  /** It is not connected, and no attempt of ours is with it any more. */
  readonly onForgettable: () => void;
}

export class SharedHost implements SandboxHost {
  readonly isShared = true;
  readonly instance: string;
  readonly maxAttempts: number;
  readonly closed: Promise<{ readonly reason: string }>;
  readonly #leaseMs: number;
  readonly #cores: number;
  readonly #attempts = new Set<KeptAttempt>();
  readonly #onForgettable: () => void;
  readonly #settleClosed: (end: { reason: string }) => void;
  #connection: ConnectedHost | undefined;
  /** Of the connection that there is, or was last. */
  #last: ConnectedHost;
  #othersLoad = 0;
  /** Chosen and not yet given: a run chooses for many steps and starts them after its commit. Some never come. */
  #promised = 0;

  constructor({ connection, leaseMs, onForgettable }: SharedHostOptions) {
    this.#onForgettable = onForgettable;
    const closed = Promise.withResolvers<{ reason: string }>();
    this.closed = closed.promise;
    this.#settleClosed = closed.resolve;
    this.instance = connection.instance;
    this.maxAttempts = connection.maxAttempts;
    this.#leaseMs = connection.leaseMs > 0 ? connection.leaseMs : leaseMs;
    this.#cores = connection.cores > 0 ? connection.cores : UNKNOWN_CORES;
    this.#last = connection;
    this.connect(connection);
  }

  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  /** Attempts of ours that have not ended, adrift ones included. */
  get size(): number {
    return this.#attempts.size;
  }

  get hasRoom(): boolean {
    return this.isConnected && !this.isDraining && this.#attempts.size < this.maxAttempts;
  }

  get isDraining(): boolean {
    return this.#last.presence.isDraining;
  }

  /** Attempts of everybody for each of its cores, one more included: the smaller, the sooner it runs. */
  get pressure(): number {
    return (this.#attempts.size + this.#promised + this.#othersLoad + 1) / this.#cores;
  }

  /** It is the choice for one attempt, which is soon given to it, or not. */
  promise(): void {
    this.#promised++;
  }

  /** A connection to it, the first or a later one: what is adrift is asked for. */
  connect(connection: ConnectedHost): void {
    this.#connection = connection;
    this.#last = connection;
    connection.presence.onLoad(() => {
      this.#othersLoad = Math.max(0, connection.presence.load - this.#attempts.size);
      this.#promised = 0;
    });
    void connection.closed.then(() => {
      if (this.#connection === connection) this.#connection = undefined;
      this.#look();
    });
    for (const attempt of this.#attempts) {
      if (!attempt.isAdrift) continue;
      void connection.attach(attempt.name, attempt.listener).then((result) => attempt.attached(result));
    }
  }

  /** Its process has ended, that is proven. */
  ended(): void {
    for (const attempt of this.#attempts) {
      attempt.lose('the process of the sandbox host has ended', { isProven: true, hostEnded: true });
    }
  }

  run(request: AttemptRequest, listener: AttemptListener): Attempt {
    const once = startedOnce(listener);
    this.#promised = Math.max(0, this.#promised - 1);
    // On a connection that has just ended the attempt is lost at once, and known not to run.
    return this.#keep(request, once, this.#last.run(request, once));
  }

  async attach(name: AttemptName, listener: AttemptListener): Promise<AttachResult> {
    const once = startedOnce(listener);
    const result = await this.#last.attach(name, once);
    if (result.state !== 'running' && result.state !== 'ended') return result;
    return { state: result.state, attempt: this.#keep(name, once, result.attempt) };
  }

  async close(): Promise<void> {
    for (const attempt of this.#attempts) attempt.leave();
    await this.#connection?.close();
    this.#settleClosed({ reason: 'closed by its owner' });
  }

  #look(): void {
    if (this.#connection === undefined && this.#attempts.size === 0) this.#onForgettable();
  }

  #keep({ token, flowId, runId, epoch }: AttemptName, listener: AttemptListener, inner: Attempt): KeptAttempt {
    const attempt: KeptAttempt = new KeptAttempt(
      {
        name: { token, flowId, runId, epoch },
        listener,
        leaseEndsAtMs: () => this.#last.presence.vouchedAtMs + this.#leaseMs + LEASE_MARGIN_MS,
        onDone: () => {
          this.#attempts.delete(attempt);
          this.#look();
        },
      },
      inner,
    );
    this.#attempts.add(attempt);
    return attempt;
  }
}
