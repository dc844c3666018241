/** A sandbox host driven by hand: attempts end when the test says so, or at once by a function. */

import type { Sandboxes, Whereabouts } from '@flowops/engine/sandbox-client/sandboxes.ts';
import type {
  AttachResult,
  Attempt,
  AttemptListener,
  AttemptOutcome,
  AttemptRequest,
  SandboxHost,
} from '@flowops/proto/attempt.ts';

export class FakeAttempt implements Attempt {
  readonly request: AttemptRequest;
  readonly listener: AttemptListener;
  readonly #settled = Promise.withResolvers<AttemptOutcome>();
  readonly calls: string[] = [];

  constructor(request: AttemptRequest, listener: AttemptListener) {
    this.request = request;
    this.listener = listener;
  }

  get outcome(): Promise<AttemptOutcome> {
    return this.#settled.promise;
  }

  isEnded = false;

  end(outcome: AttemptOutcome): void {
    this.isEnded = true;
    this.#settled.resolve(outcome);
  }

  complete(outputs: Record<string, unknown>): void {
    this.end({ status: 'COMPLETED', outputsJson: JSON.stringify(outputs), receipt: null });
  }

  fail(code: 'PLUGIN_ERROR' | 'SANDBOX_UNAVAILABLE', message: string, retryable = true): void {
    this.end({ status: 'FAILED', code, message, receipt: null, stack: '', retryable, retryAfterMs: 0 });
  }

  /** Its host is gone. */
  lose(aliveForMs: number, hostEnded = false): void {
    this.end({ status: 'LOST', message: 'the host is gone', aliveForMs, hostEnded });
  }

  cancel({ reason }: { graceMs: number; reason: string }): void {
    this.calls.push('cancel');
    this.end({ status: 'CANCELLED', message: reason, receipt: null });
  }

  pause(): void {
    this.calls.push('pause');
  }

  resume(): void {
    this.calls.push('resume');
  }

  acknowledge(): void {
    this.calls.push('acknowledge');
  }

  leave(): void {
    this.calls.push('leave');
  }
}

export type Behaviour = (attempt: FakeAttempt) => void;

export class FakeHost implements SandboxHost {
  readonly instance: string;
  readonly maxAttempts: number;
  isShared = false;
  readonly attempts: FakeAttempt[] = [];
  readonly #closed = Promise.withResolvers<{ reason: string }>();
  readonly #waiters: { wanted: number; resolve: () => void }[] = [];
  behaviour: Behaviour | undefined;

  constructor(behaviour?: Behaviour, maxAttempts = 100, instance = 'fake') {
    this.behaviour = behaviour;
    this.maxAttempts = maxAttempts;
    this.instance = instance;
  }

  get closed(): Promise<{ reason: string }> {
    return this.#closed.promise;
  }

  run(request: AttemptRequest, listener: AttemptListener): Attempt {
    const attempt = new FakeAttempt(request, listener);
    this.attempts.push(attempt);
    for (const waiter of this.#waiters) if (this.attempts.length >= waiter.wanted) waiter.resolve();
    if (this.behaviour !== undefined) queueMicrotask(() => this.behaviour?.(attempt));
    return attempt;
  }

  /** Resolves when this many attempts were started in all. */
  async started(count: number): Promise<void> {
    if (this.attempts.length >= count) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ wanted: count, resolve });
    await promise;
  }

  /** Tokens that were asked for. */
  readonly attached: string[] = [];
  /** What is answered; absent: the attempt if it was started here and is not acknowledged, else that it is unknown. */
  onAttach: ((token: string) => AttachResult | Promise<AttachResult>) | undefined;

  async attach({ token }: { token: string }): Promise<AttachResult> {
    this.attached.push(token);
    if (this.onAttach !== undefined) return this.onAttach(token);
    const attempt = this.attempts.find(({ request }) => request.token === token);
    if (attempt === undefined || attempt.calls.includes('acknowledge')) return { state: 'unknown' };
    return { state: attempt.isEnded ? 'ended' : 'running', attempt };
  }

  async close(): Promise<void> {
    this.#closed.resolve({ reason: 'closed' });
  }
}

export class FakeSandboxes implements Sandboxes {
  host: FakeHost | undefined;
  /** Instances that are known to have ended. */
  readonly ended = new Set<string>();
  /** How often a host was chosen. */
  picks = 0;
  readonly #listeners: (() => void)[] = [];

  constructor(host: FakeHost | undefined) {
    this.host = host;
  }

  pick(): SandboxHost | undefined {
    this.picks++;
    return this.host;
  }

  locate(instance: string): Whereabouts {
    if (this.host?.instance === instance) return { state: 'connected', host: this.host };
    return this.ended.has(instance) ? { state: 'ended' } : { state: 'unreachable' };
  }

  capacity(): number {
    return this.host?.maxAttempts ?? 0;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  change(host: FakeHost | undefined): void {
    this.host = host;
    for (const listener of this.#listeners) listener();
  }

  async close(): Promise<void> {
    this.host = undefined;
  }
}
