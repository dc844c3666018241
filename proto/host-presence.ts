/**
 * What is known of a connected sandbox host beside its attempts: its load, whether it takes new ones, when we last answered
 * it, and whether it is still there. A host with a lease asks often; one that is silent for too long is hung, or the
 * network between is cut without a word, and its connection is given up.
 */

/** Looks at the silence this many times until it is too long. */
const LOOKS = 8;

export interface HostPresence {
  /** Attempts of all callers that it has under way, as it told last. */
  readonly load: number;
  /** It takes no new attempts: it was told to end. */
  readonly isDraining: boolean;
  /** Our last answer, as performance.now() counts: its lease cannot reach further than from there. */
  readonly vouchedAtMs: number;
  /** Each time it tells its load, which is several times in a lease. */
  onLoad(listener: () => void): void;
  /** Once. */
  onDraining(listener: () => void): void;
}

export interface PresenceOptions {
  /** Whether we still stand by our attempts. */
  readonly vouches: () => boolean;
  /** Bytes that came, in all. */
  readonly bytesIn: () => number;
  readonly onSilence: (silentMs: number) => void;
}

export class PresenceWatch implements HostPresence {
  readonly #options: PresenceOptions;
  readonly #onLoad: (() => void)[] = [];
  readonly #onDraining: (() => void)[] = [];
  #load = 0;
  #isDraining = false;
  #vouchedAtMs = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  get load(): number {
    return this.#load;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  get vouchedAtMs(): number {
    return this.#vouchedAtMs;
  }

  onLoad(listener: () => void): void {
    this.#onLoad.push(listener);
  }

  onDraining(listener: () => void): void {
    this.#onDraining.push(listener);
  }

  /** The host asks whether we live; the answer is whether it gets one. */
  asked(load: number): boolean {
    this.#load = load;
    for (const listener of this.#onLoad) listener();
    if (!this.#options.vouches()) return false;
    this.#vouchedAtMs = performance.now();
    return true;
  }

  drains(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (const listener of this.#onDraining) listener();
  }

  /** From now on the host must be heard of at least this often. */
  watch(silenceMs: number): void {
    const lookMs = silenceMs / LOOKS;
    let heardBytes = this.#options.bytesIn();
    let looks = 0;
    let lookedAtMs = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      const isLate = now - lookedAtMs > 2 * lookMs;
      lookedAtMs = now;
      const bytes = this.#options.bytesIn();
      // After a pause of our own, what came meanwhile has not been read yet.
      if (bytes !== heardBytes || isLate) looks = 0;
      heardBytes = bytes;
      if (++looks > LOOKS) this.#options.onSilence(silenceMs);
    }, lookMs);
    this.#timer.unref();
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer);
  }
}
