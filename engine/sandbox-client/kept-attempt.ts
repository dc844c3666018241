/**
 * One attempt at a shared host, across the connections to it. While there is none the attempt is adrift: it runs on at the
 * host until its lease is over, and when the host is reached again before, nobody sees that anything was wrong.
 *
 *   with a connection ⇄ adrift → ended (told once) or left
 *
 * Invariants:
 *   K1. The outcome settles once: with the host's Result; as LOST at once when it is proven that nothing runs; else as LOST
 *       when the host's lease is over, with how long a host that hangs may let it run.
 *   K2. A cancel asked for while adrift is sent as soon as the host is reached.
 */
import type { AttachResult, Attempt, AttemptListener, AttemptOutcome, AttemptRequest } from '@flowops/proto/attempt.ts';

export type AttemptName = Pick<AttemptRequest, 'token' | 'flowId' | 'runId' | 'epoch'>;
type Lost = Extract<AttemptOutcome, { status: 'LOST' }>;
type CancelOptions = Parameters<Attempt['cancel']>[0];

type Phase =
  | { readonly name: 'connected'; readonly inner: Attempt }
  | {
      readonly name: 'adrift';
      readonly timer: NodeJS.Timeout;
      /** As performance.now() counts: when code of it runs no more, whatever happened to its host. */
      readonly lifeEndsAtMs: number;
    }
  | { readonly name: 'ended'; readonly inner: Attempt | undefined }
  | { readonly name: 'left' };

export interface KeptAttemptOptions {
  readonly name: AttemptName;
  /** Given to each connection's attempt: made by `startedOnce`. */
  readonly listener: AttemptListener;
  /** When the host's lease is over if it hears nothing from us from now on, as performance.now() counts. */
  readonly leaseEndsAtMs: () => number;
  /** It ended or was left: nothing needs to be attached to any more. */
  readonly onDone: () => void;
}

/** A host tells the start again to each connection that attaches. */
export function startedOnce(listener: AttemptListener): AttemptListener {
  let hasStarted = false;
  const onStarted = (): void => {
    if (hasStarted) return;
    hasStarted = true;
    listener.onStarted?.();
  };
  return { ...listener, onStarted };
}

export class KeptAttempt implements Attempt {
  readonly name: AttemptName;
  readonly outcome: Promise<AttemptOutcome>;
  readonly #options: KeptAttemptOptions;
  readonly #settle: (outcome: AttemptOutcome) => void;
  #phase: Phase;
  #cancel: CancelOptions | undefined;

  /** @param inner the attempt on the first connection */
  constructor(options: KeptAttemptOptions, inner: Attempt) {
    this.name = options.name;
    this.#options = options;
    const settled = Promise.withResolvers<AttemptOutcome>();
    this.outcome = settled.promise;
    this.#settle = settled.resolve;
    this.#phase = this.#follow(inner);
  }

  get listener(): AttemptListener {
    return this.#options.listener;
  }

  get isAdrift(): boolean {
    return this.#phase.name === 'adrift';
  }

  cancel(options: CancelOptions): void {
    if (this.#phase.name === 'connected') this.#phase.inner.cancel(options);
    else if (this.#phase.name === 'adrift') this.#cancel = options;
  }

  pause(): void {
    if (this.#phase.name === 'connected') this.#phase.inner.pause();
  }

  resume(): void {
    if (this.#phase.name === 'connected') this.#phase.inner.resume();
  }

  acknowledge(): void {
    if (this.#phase.name === 'ended') this.#phase.inner?.acknowledge();
  }

  leave(): void {
    const phase = this.#phase;
    if (phase.name === 'left') return;
    this.#phase = { name: 'left' };
    if (phase.name === 'adrift') clearTimeout(phase.timer);
    else phase.inner?.leave();
    this.#options.onDone();
  }

  /** The host is reached again and was asked for it. */
  attached(result: AttachResult) {
    const phase = this.#phase;
    if (phase.name !== 'adrift') {
      // It was left, or given up, while the host was asked.
      if (result.state === 'running' || result.state === 'ended') result.attempt.leave();
      return;
    }
    switch (result.state) {
      case 'running':
      case 'ended':
        clearTimeout(phase.timer);
        this.#phase = this.#follow(result.attempt);
        if (this.#cancel !== undefined) result.attempt.cancel(this.#cancel);
        this.#cancel = undefined;
        return;
      case 'unknown':
        return this.lose('the sandbox host does not have it any more', { isProven: true });
      case 'refused':
        return this.lose('another engine has the run', { isProven: false });
      case 'lost':
        return;
    }
  }

  /** Adrift no more: nothing of it will be told. */
  lose(message: string, how: { readonly isProven: boolean; readonly hostEnded?: boolean }): void {
    if (this.#phase.name !== 'adrift') return;
    const { timer, lifeEndsAtMs } = this.#phase;
    clearTimeout(timer);
    const aliveForMs = how.isProven ? 0 : Math.max(0, lifeEndsAtMs - performance.now());
    this.#end({ status: 'LOST', message, aliveForMs, hostEnded: how.hostEnded ?? false }, undefined);
  }

  #follow(inner: Attempt): Phase {
    void inner.outcome.then((outcome) => {
      if (this.#phase.name !== 'connected' || this.#phase.inner !== inner) return;
      if (outcome.status !== 'LOST' || outcome.aliveForMs === 0) this.#end(outcome, inner);
      else this.#drift(outcome);
    });
    return { name: 'connected', inner };
  }

  #drift(lost: Lost): void {
    const now = performance.now();
    const leftMs = Math.max(0, this.#options.leaseEndsAtMs() - now);
    const message = `${lost.message}, and it could not be reached again within its lease`;
    const timer = setTimeout(() => this.lose(message, { isProven: false }), leftMs);
    this.#phase = { name: 'adrift', timer, lifeEndsAtMs: now + lost.aliveForMs };
  }

  #end(outcome: AttemptOutcome, inner: Attempt | undefined): void {
    this.#phase = { name: 'ended', inner };
    this.#options.onDone();
    this.#settle(outcome);
  }
}
