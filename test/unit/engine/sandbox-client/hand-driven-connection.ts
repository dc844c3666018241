/** A connection to a sandbox host, driven by hand: attempts end, the connection ends, attaches are answered as the test says. */
import type { AttachResult, Attempt, AttemptListener, AttemptOutcome } from '@flowops/proto/attempt.ts';
import type { HostPresence } from '@flowops/proto/host-presence.ts';
import type { ConnectedHost } from '@flowops/proto/sandbox-client.ts';

export class HandAttempt implements Attempt {
  readonly calls: string[] = [];
  readonly listener: AttemptListener;
  readonly #settled = Promise.withResolvers<AttemptOutcome>();

  constructor(listener: AttemptListener) {
    this.listener = listener;
  }

  get outcome(): Promise<AttemptOutcome> {
    return this.#settled.promise;
  }

  end(outcome: AttemptOutcome): void {
    this.#settled.resolve(outcome);
  }

  complete(): void {
    this.end({ status: 'COMPLETED', outputsJson: '{}', receipt: null });
  }

  cancel({ reason }: { graceMs: number; reason: string }): void {
    this.calls.push(`cancel ${reason}`);
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

class HandPresence implements HostPresence {
  load = 0;
  isDraining = false;
  vouchedAtMs = performance.now();
  readonly #onLoad: (() => void)[] = [];
  readonly #onDraining: (() => void)[] = [];

  onLoad(listener: () => void): void {
    this.#onLoad.push(listener);
  }

  onDraining(listener: () => void): void {
    this.#onDraining.push(listener);
  }

  tellLoad(load: number): void {
    this.load = load;
    for (const listener of this.#onLoad) listener();
  }

  drain(): void {
    this.isDraining = true;
    for (const listener of this.#onDraining) listener();
  }
}

export class HandConnection implements ConnectedHost {
  readonly isShared = true;
  readonly maxAttempts: number = 10;
  readonly capabilities: readonly string[] = [];
  readonly counters = { framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0, late: 0, foreign: 0, duplicate: 0 };
  readonly instance: string;
  readonly cores: number;
  readonly leaseMs = 1_000;
  readonly endedInstances: readonly string[];
  readonly presence = new HandPresence();
  readonly attempts: HandAttempt[] = [];
  /** What is attached to next; absent: the host does not know it. */
  attachable: 'running' | 'ended' | 'unknown' | 'refused' | 'lost' = 'unknown';
  readonly #closed = Promise.withResolvers<{ reason: string }>();

  constructor(instance = 'host-a', options: { cores?: number; endedInstances?: readonly string[] } = {}) {
    this.instance = instance;
    this.cores = options.cores ?? 2;
    this.endedInstances = options.endedInstances ?? [];
  }

  get closed(): Promise<{ reason: string }> {
    return this.#closed.promise;
  }

  run(_: unknown, listener: AttemptListener): HandAttempt {
    const attempt = new HandAttempt(listener);
    this.attempts.push(attempt);
    return attempt;
  }

  async attach(_: unknown, listener: AttemptListener): Promise<AttachResult> {
    const state = this.attachable;
    if (state === 'running' || state === 'ended') return { state, attempt: this.run(_, listener) };
    return { state };
  }

  /** The connection is gone; each attempt may still run for so long. */
  async cut(aliveForMs = 30_000): Promise<void> {
    this.#closed.resolve({ reason: 'cut' });
    const message = 'the connection to the sandbox host ended: cut';
    for (const attempt of this.attempts) attempt.end({ status: 'LOST', message, aliveForMs, hostEnded: false });
    await ticks();
  }

  async close(): Promise<void> {
    this.#closed.resolve({ reason: 'closed' });
  }
}

/** Everything that promises still had to do is done. */
export async function ticks(): Promise<void> {
  for (let tick = 0; tick < 10; tick++) await Promise.resolve();
}
