/** Sandboxes that complete every step at once, but for those of one name: these they hold until they are told. */

import type { Sandboxes, Whereabouts } from '@flowops/engine/sandbox-client/sandboxes.ts';
import type { Attempt, AttemptOutcome, AttemptRequest, SandboxHost } from '@flowops/proto/attempt.ts';

const COMPLETED: AttemptOutcome = { status: 'COMPLETED', outputsJson: '{"text":"hello"}', receipt: null };

export class HoldingSandboxes implements Sandboxes {
  readonly #heldStep: string;
  readonly #host: SandboxHost;
  #held: ((outcome: AttemptOutcome) => void)[] = [];
  #onHeld: () => void = () => {};

  constructor(heldStep: string) {
    this.#heldStep = heldStep;
    this.#host = {
      instance: 'bench',
      maxAttempts: Number.MAX_SAFE_INTEGER,
      isShared: false,
      closed: new Promise(() => {}),
      run: (request) => this.#run(request),
      attach: async () => ({ state: 'unknown' }),
      close: async () => {},
    };
  }

  get heldCount(): number {
    return this.#held.length;
  }

  /** Resolves when so many are held. */
  held(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onHeld = () => this.#held.length >= count && resolve();
      this.#onHeld();
    });
  }

  /** Completes them. */
  release(): void {
    for (const end of this.#held.splice(0)) end(COMPLETED);
  }

  pick(): SandboxHost {
    return this.#host;
  }

  locate(): Whereabouts {
    return { state: 'ended' };
  }

  capacity(): number {
    return this.#host.maxAttempts;
  }

  onChange(): void {}

  async close(): Promise<void> {}

  #run({ stepId }: AttemptRequest): Attempt {
    const { promise, resolve } = Promise.withResolvers<AttemptOutcome>();
    if (stepId === this.#heldStep) this.#held.push(resolve);
    else queueMicrotask(() => resolve(COMPLETED));
    this.#onHeld();
    return {
      outcome: promise,
      cancel: () => resolve({ status: 'CANCELLED', message: 'cancelled', receipt: null }),
      pause: () => {},
      resume: () => {},
      acknowledge: () => {},
      leave: () => {},
    };
  }
}
