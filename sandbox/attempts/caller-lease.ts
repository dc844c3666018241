/**
 * How long a caller's attempts may go on without it (design 5.4): it is asked several times in a lease whether it lives,
 * and the lease runs from the last question it answered. What it sent long ago and comes late proves nothing, since only an
 * answer is younger than its question.
 */

/** So that a connection that breaks leaves most of the lease to whoever attaches next. */
const QUESTIONS_PER_LEASE = 10;

export interface CallerLeaseOptions {
  readonly leaseMs: number;
  /** `onAnswer` is called when the caller has answered this question, if ever. */
  readonly ask: (onAnswer: () => void) => void;
  /** Called once. */
  readonly onOver: () => void;
}

export class CallerLease {
  readonly #options: CallerLeaseOptions;
  readonly #questions: NodeJS.Timeout;
  #over: NodeJS.Timeout;
  #endsAtMs: number;

  constructor(options: CallerLeaseOptions) {
    this.#options = options;
    this.#endsAtMs = performance.now() + options.leaseMs;
    this.#over = this.#arm();
    this.#questions = setInterval(() => this.#ask(), options.leaseMs / QUESTIONS_PER_LEASE);
  }

  /** As performance.now() counts. */
  get endsAtMs(): number {
    return this.#endsAtMs;
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#questions);
    clearTimeout(this.#over);
  }

  #ask(): void {
    const askedAtMs = performance.now();
    this.#options.ask(() => {
      this.#endsAtMs = Math.max(this.#endsAtMs, askedAtMs + this.#options.leaseMs);
      clearTimeout(this.#over);
      this.#over = this.#arm();
    });
  }

  #arm(): NodeJS.Timeout {
    return setTimeout(
      () => {
        this.close();
        this.#options.onOver();
      },
      Math.max(0, this.#endsAtMs - performance.now()),
    );
  }
}
