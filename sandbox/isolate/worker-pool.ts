/**
 * Which job goes into which worker, and when workers come and go. A worker serves one trust domain from its first job
 * to its end; a domain holds at most half of the workers; waiting jobs are taken round robin over domains (design
 * 5.2). Knows nothing of plugins, limits or processes; deterministic but for the pause after a failed start.
 *
 * Invariants:
 *   L1. A worker that ran one domain's job never runs another's.
 *   L2. A job that must be alone gets a worker in which nothing ran before, and nothing joins it.
 *   L3. Every submitted job is started, withdrawn or refused. Waiting jobs and workers are bounded.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { IsolateWorker, WorkerEvents } from './worker-job.ts';

/** Isolates of one worker contend; more than this gain nothing and share more blame. */
const CAPACITY = 4;
/** Some seconds of steps; an engine that is told so waits with further ones. */
const MAX_WAITING = 4096;
/** Then what waits is refused rather than kept for workers that do not come. */
const MAX_START_FAILURES = 3;
/** After this many steps a worker's domain is worth one per core: while one worker makes its next isolate, the other runs. */
const STEPS_OF_A_BUSY_DOMAIN = 8;
const START_PAUSE_MS = 200;

export interface PoolJob {
  /** Publisher, or plugin when unsigned. */
  readonly domain: string;
  /** Steps of the domain at a time. */
  readonly concurrent: number;
  readonly isAlone: boolean;
  readonly needsJail: boolean;
  /** Called with a worker that takes steps; must put the job into it. */
  start(worker: IsolateWorker): void;
  refuse(code: ErrorCode, message: string): void;
}

export interface PoolTicket {
  /** True when the job had not started; it then never will. */
  withdraw(): boolean;
  /** The job has left its worker. */
  done(): void;
}

export interface PoolOptions {
  readonly maxWorkers: number;
  /** Workers of one domain up to this number are started before steps share one. */
  readonly cores: number;
  readonly capacity?: number;
  readonly maxWaiting?: number;
  spawn(events: WorkerEvents): IsolateWorker;
  /** A worker never became ready. The pool starts no other before this settles. */
  onStartFailure(problem: string): Promise<void>;
}

interface Slot {
  readonly worker: IsolateWorker;
  domain: string | undefined;
  isUsed: boolean;
  isReserved: boolean;
  /** `draining`: takes no more steps, so that another domain gets its place when it is idle. */
  phase: 'starting' | 'ready' | 'draining' | 'closing';
  /** Grows with every use: the lowest of the idle ones is evicted first. */
  lastUse: number;
  /** Jobs it was given. */
  served: number;
}

interface Entry {
  readonly job: PoolJob;
  /** Where it runs. */
  slot: Slot | undefined;
}

interface Domain {
  readonly waiting: Entry[];
  running: number;
  /** 0 for one that was not served yet: the first to get a new worker. */
  lastServed: number;
}

export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #capacity: number;
  readonly #slots = new Set<Slot>();
  /** Domains with waiting or running jobs; the first is next in turn. */
  readonly #domains = new Map<string, Domain>();
  #waiting = 0;
  #uses = 0;
  #startFailures = 0;
  #startsBlocked = false;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#capacity = options.capacity ?? CAPACITY;
  }

  /** Starts a first worker, so that the first job finds it ready. */
  warmUp(): void {
    if (this.#slots.size === 0 && !this.#startsBlocked) this.#spawn(undefined);
  }

  get figures(): { workers: number; waiting: number; running: number } {
    let running = 0;
    for (const domain of this.#domains.values()) running += domain.running;
    return { workers: this.#slots.size, waiting: this.#waiting, running };
  }

  submit(job: PoolJob): PoolTicket {
    if (this.#isClosed || this.#waiting >= (this.#options.maxWaiting ?? MAX_WAITING)) {
      const why = this.#isClosed ? 'is shutting down' : 'has too many steps waiting; try again later';
      job.refuse('SANDBOX_UNAVAILABLE', `the sandbox host ${why}`);
      return { withdraw: () => false, done: () => {} };
    }
    const domain = this.#domain(job.domain);
    const entry: Entry = { job, slot: undefined };
    // One that is run again has waited before.
    if (job.isAlone) domain.waiting.unshift(entry);
    else domain.waiting.push(entry);
    this.#waiting++;
    let isDone = false;
    const ticket: PoolTicket = {
      withdraw: () => {
        const at = domain.waiting.indexOf(entry);
        if (at < 0) return false;
        domain.waiting.splice(at, 1);
        this.#waiting--;
        this.#forget(job.domain);
        return true;
      },
      done: () => {
        if (isDone) return;
        isDone = true;
        if (entry.slot !== undefined) {
          if (job.isAlone) entry.slot.isReserved = false;
          domain.running--;
        }
        this.#forget(job.domain);
        this.#dispatch();
      },
    };
    this.#dispatch();
    return ticket;
  }

  /** Refuses the waiting jobs that `applies` names. */
  refuseWaiting(applies: (job: PoolJob) => boolean, code: ErrorCode, message: string): void {
    const refused: PoolJob[] = [];
    for (const [name, domain] of [...this.#domains]) {
      const keep = domain.waiting.filter(({ job }) => !applies(job));
      refused.push(...domain.waiting.map(({ job }) => job).filter(applies));
      domain.waiting.splice(0, domain.waiting.length, ...keep);
      this.#forget(name);
    }
    this.#waiting -= refused.length;
    for (const job of refused) job.refuse(code, message);
  }

  /** Ends every worker; resolves when none is left. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.refuseWaiting(() => true, 'SANDBOX_UNAVAILABLE', 'the sandbox host is shutting down');
    await Promise.all([...this.#slots].map((slot) => slot.worker.close()));
  }

  #domain(name: string): Domain {
    let domain = this.#domains.get(name);
    if (domain === undefined) {
      domain = { waiting: [], running: 0, lastServed: 0 };
      this.#domains.set(name, domain);
    }
    return domain;
  }

  #forget(name: string): void {
    const domain = this.#domains.get(name);
    if (domain?.waiting.length === 0 && domain.running === 0) this.#domains.delete(name);
  }

  #dispatch(): void {
    for (let progress = this.#waiting > 0; progress; ) {
      progress = false;
      for (const name of [...this.#domains.keys()]) progress = this.#startNext(name) || progress;
    }
    if (!this.#isClosed) this.#grow();
  }

  #startNext(name: string): boolean {
    const domain = this.#domains.get(name);
    const entry = domain?.waiting[0];
    if (domain === undefined || entry === undefined) return false;
    const { job } = entry;
    if (domain.running >= Math.max(1, job.concurrent)) return false;
    const slot = this.#pick(name, job);
    if (slot === undefined) return false;
    domain.waiting.shift();
    this.#waiting--;
    domain.running++;
    entry.slot = slot;
    slot.domain = name;
    slot.isUsed = true;
    slot.isReserved = job.isAlone;
    slot.lastUse = ++this.#uses;
    slot.served++;
    domain.lastServed = this.#uses;
    // Its next job waits for everybody else's turn.
    this.#domains.delete(name);
    this.#domains.set(name, domain);
    job.start(slot.worker);
    return true;
  }

  #pick(name: string, job: PoolJob): Slot | undefined {
    let best: Slot | undefined;
    let fresh: Slot | undefined;
    let held = 0;
    for (const slot of this.#slots) {
      if (slot.domain === name && slot.phase !== 'closing') held++;
      if (slot.phase !== 'ready' || slot.isReserved || !slot.worker.takesSteps) continue;
      if (job.needsJail && slot.worker.confinement.kind === 'none') continue;
      if (slot.domain === undefined) fresh = slot;
      else if (slot.domain !== name || (job.isAlone && slot.isUsed) || slot.worker.jobs >= this.#capacity) continue;
      else if (best === undefined || isFreer(slot, best)) best = slot;
    }
    if (best !== undefined && (best.worker.jobs === 0 || held >= this.#wanted)) return best;
    // Up to one worker per core the next step gets its own; then steps share.
    return (held < this.#share ? fresh : undefined) ?? best;
  }

  /** Of one domain. */
  get #share(): number {
    return Math.max(1, Math.floor(this.#options.maxWorkers / 2));
  }

  get #wanted(): number {
    return Math.min(this.#share, this.#options.cores);
  }

  /** Starts at most one worker at a time for each domain that is held up or shares workers before it should. */
  #grow(): void {
    const inTurn = [...this.#domains].sort(([, a], [, b]) => a.lastServed - b.lastServed);
    for (const [name, domain] of inTurn) {
      if (this.#startsBlocked) return;
      const held = [...this.#slots].filter((slot) => slot.domain === name && slot.phase !== 'closing');
      if (held.some((slot) => slot.phase === 'starting')) continue;
      const next = domain.waiting[0]?.job;
      const isHeldUp = next !== undefined && domain.running < Math.max(1, next.concurrent);
      const isBusy = domain.running > held.length || held.some((slot) => slot.served >= STEPS_OF_A_BUSY_DOMAIN);
      const wantsMore = isBusy && held.length < this.#wanted;
      if (!isHeldUp && !wantsMore) continue;
      if (held.length >= this.#share) {
        if (isHeldUp && next.isAlone) this.#evict(held);
        continue;
      }
      // A worker of nobody that is on its way is as good as a new one.
      if ([...this.#slots].some((slot) => slot.domain === undefined && slot.phase === 'starting')) continue;
      if (this.#slots.size < this.#options.maxWorkers) this.#spawn(name);
      else if (isHeldUp && !this.#evict([...this.#slots].filter((slot) => slot.domain !== name)) && held.length === 0) {
        this.#drain();
      }
    }
  }

  /** Makes room, one place at a time: the least recently used worker that has no job goes. False when there is none. */
  #evict(slots: readonly Slot[]): boolean {
    if (this.#isMakingRoom) return true;
    const idle = slots.filter((slot) => slot.phase === 'ready' && slot.worker.jobs === 0);
    const [oldest] = idle.sort((a, b) => a.lastUse - b.lastUse);
    if (oldest !== undefined) this.#closeSlot(oldest);
    return oldest !== undefined;
  }

  /** All places are busy and a domain has none: the one with the fewest jobs finishes them and goes. */
  #drain(): void {
    const busy = [...this.#slots].filter((slot) => slot.phase === 'ready' && !slot.isReserved);
    const [next] = busy.sort((a, b) => a.worker.jobs - b.worker.jobs || a.lastUse - b.lastUse);
    if (next !== undefined) next.phase = 'draining';
  }

  get #isMakingRoom(): boolean {
    return [...this.#slots].some((slot) => slot.phase === 'closing' || slot.phase === 'draining');
  }

  #spawn(domain: string | undefined): void {
    const worker = this.#options.spawn({
      onAvailable: () => {
        if (slot.phase === 'starting') {
          slot.phase = 'ready';
          this.#startFailures = 0;
        }
        this.#dispatch();
      },
      onRelease: () => {
        const isLeaving = slot.worker.isSpent || slot.phase === 'draining';
        if (isLeaving && slot.worker.jobs === 0) this.#closeSlot(slot);
      },
      onEnded: ({ startProblem }) => {
        this.#slots.delete(slot);
        if (startProblem === undefined || this.#isClosed) this.#dispatch();
        else void this.#afterStartFailure(startProblem);
      },
    });
    const slot: Slot = {
      worker,
      domain,
      isUsed: false,
      isReserved: false,
      phase: 'starting',
      lastUse: ++this.#uses,
      served: 0,
    };
    this.#slots.add(slot);
  }

  #closeSlot(slot: Slot): void {
    slot.phase = 'closing';
    void slot.worker.close();
  }

  async #afterStartFailure(problem: string): Promise<void> {
    this.#startFailures++;
    this.#startsBlocked = true;
    await this.#options.onStartFailure(problem);
    if (this.#startFailures >= MAX_START_FAILURES) {
      const message = `the sandbox host cannot start a worker (${problem}); \`flowops sandbox doctor\` tells more`;
      this.refuseWaiting(() => true, 'SANDBOX_UNAVAILABLE', message);
      this.#startFailures = 0;
    }
    setTimeout(() => {
      this.#startsBlocked = false;
      this.#dispatch();
    }, START_PAUSE_MS);
  }
}

/** Fewer jobs; else the one that rested longest, and has made its next isolate meanwhile. */
function isFreer(a: Slot, b: Slot): boolean {
  return a.worker.jobs !== b.worker.jobs ? a.worker.jobs < b.worker.jobs : a.lastUse < b.lastUse;
}
