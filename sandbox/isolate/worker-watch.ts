/**
 * Watches one worker from outside: while steps are in it, whether it answers pings, how much CPU and memory it takes,
 * and whether it is still one process; between steps, now and then, that it rests. It only tells; who is to blame and
 * what happens is decided by worker-process.ts. A worker is never its own watchdog.
 *
 * A tick that comes late because the host itself was held up does not count against the worker.
 */

/** Memory can grow by a gigabyte a second; without a cgroup this is how far it gets between two looks. */
const POLL_MS = 20;
/** CPU figures of the kernel have a grain of 10 ms. */
const CPU_EVERY_MS = 100;
const PING_EVERY_MS = 250;
/** A ping without an answer for this long: no new step. */
const LATE_MS = 250;
/** And for this long, not counting the time it waited for a core: the worker is killed. */
const DEAD_MS = 2_000;
/** At the latest, whatever it waited for: many threads of its own can keep its first one waiting too. */
const DEAD_AT_LATEST_MS = 10_000;
/** After the last step; a new one usually follows at once. */
const IDLE_MS = 500;
/** A worker at rest is looked at as often as this. Making the next isolate is over long before. */
const REST_POLL_MS = 1_000;
/** And may take this much in that time; more is code that goes on after its step was told to have ended. */
const REST_CPU_MS = 250;

export interface WatchedWorker {
  /** Undefined where the kernel does not tell. */
  cpuMs(): number | undefined;
  residentBytes(): number | undefined;
  /** How long its first thread was ready to run and had no core, since ever. */
  delayMs(): number | undefined;
  /** It has made a process. */
  hasChildren(): boolean;
  ping(onPong: () => void): void;
}

export interface WatchEvents {
  onLate(): void;
  onBack(): void;
  onDead(): void;
  /** Called with a fresh figure, at most every CPU_EVERY_MS. */
  onCpu(cpuMs: number): void;
  /** Only when memory is polled. */
  onResident(bytes: number): void;
  onChildren(): void;
  /** No step is in it, and it does not rest. */
  onRestless(cpuMs: number): void;
}

export interface WatchOptions {
  readonly worker: WatchedWorker;
  readonly events: WatchEvents;
  /** False where a cgroup bounds memory. */
  readonly pollsMemory: boolean;
  readonly now?: () => number;
}

export class WorkerWatch {
  readonly #options: WatchOptions;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #isResting = false;
  #lastTick = 0;
  #lastCpu = 0;
  #lastPing = 0;
  #idleSince: number | undefined;
  /** When the oldest unanswered ping left, in time during which the host itself ran. */
  #waitingMs: number | undefined;
  #delayAtPingMs: number | undefined;
  #isLate = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** A step came. */
  busy(): void {
    this.#idleSince = undefined;
    if (this.#timer !== undefined && !this.#isResting) return;
    this.stop();
    this.#isResting = false;
    const now = this.#now();
    this.#lastTick = now;
    this.#lastPing = now;
    this.#lastCpu = now;
    this.#timer = setInterval(() => this.#tick(), POLL_MS);
  }

  /** The last step went. */
  idle(): void {
    this.#idleSince = this.#now();
  }

  /** Idempotent. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick() {
    const now = this.#now();
    const elapsedMs = now - this.#lastTick;
    this.#lastTick = now;
    if (this.#idleSince !== undefined && now - this.#idleSince > IDLE_MS && this.#waitingMs === undefined) {
      return this.#rest();
    }
    if (this.#options.pollsMemory) {
      const bytes = this.#options.worker.residentBytes();
      if (bytes !== undefined) this.#options.events.onResident(bytes);
    }
    if (now - this.#lastCpu >= CPU_EVERY_MS) {
      this.#lastCpu = now;
      const cpuMs = this.#options.worker.cpuMs();
      if (cpuMs !== undefined) this.#options.events.onCpu(cpuMs);
      this.#lookForChildren();
    }
    this.#watchPing(now, elapsedMs);
  }

  #rest(): void {
    this.stop();
    this.#isResting = true;
    const { worker, events, pollsMemory } = this.#options;
    let lastMs = worker.cpuMs();
    this.#timer = setInterval(() => {
      const cpuMs = worker.cpuMs();
      const usedMs = cpuMs === undefined || lastMs === undefined ? 0 : cpuMs - lastMs;
      lastMs = cpuMs;
      if (usedMs > REST_CPU_MS) events.onRestless(usedMs);
      const bytes = pollsMemory ? worker.residentBytes() : undefined;
      if (bytes !== undefined) events.onResident(bytes);
      this.#lookForChildren();
    }, REST_POLL_MS);
    this.#timer.unref();
  }

  #lookForChildren(): void {
    if (this.#options.worker.hasChildren()) this.#options.events.onChildren();
  }

  #watchPing(now: number, elapsedMs: number): void {
    if (this.#timer === undefined) return; // stopped by one of the events
    if (this.#waitingMs !== undefined) {
      // A tick of 20 ms that took 300 was the host's own delay: only its fair part counts.
      this.#waitingMs += Math.min(elapsedMs, 2 * POLL_MS);
      if (this.#waitingMs >= DEAD_MS && this.#isDead(this.#waitingMs)) {
        this.stop();
        this.#options.events.onDead();
      } else if (this.#waitingMs >= LATE_MS && !this.#isLate) {
        this.#isLate = true;
        this.#options.events.onLate();
      }
      return;
    }
    if (now - this.#lastPing < PING_EVERY_MS) return;
    this.#lastPing = now;
    this.#waitingMs = 0;
    this.#delayAtPingMs = this.#options.worker.delayMs();
    this.#options.worker.ping(() => {
      this.#waitingMs = undefined;
      if (!this.#isLate) return;
      this.#isLate = false;
      this.#options.events.onBack();
    });
  }

  /** Others may have had the cores. */
  #isDead(waitingMs: number): boolean {
    const delayMs = this.#options.worker.delayMs();
    const starvedMs = delayMs === undefined || this.#delayAtPingMs === undefined ? 0 : delayMs - this.#delayAtPingMs;
    return waitingMs - starvedMs >= DEAD_MS || waitingMs >= DEAD_AT_LATEST_MS;
  }
}
