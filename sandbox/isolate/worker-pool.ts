/**
 * Which job goes into which worker, and when workers come and go. A worker serves one trust domain from its first job
 * to its end; a domain holds at most half of the workers; waiting jobs are taken round robin over domains (design
 * 5.2). Knows nothing of plugins, limits or processes; deterministic but for the pause after a failed start.
 *
 * Invariants:
 *   L1. A worker that ran one domain's job never runs another's.
 *   L2. A job that must be alone gets a worker in which nothing ran before, and nothing joins it.
 *   L3. Workers are bounded; what waits for one is in steps/turn-queue.ts.
 */
import { type QueuedJob, type QueueTicket, type Turn, TurnQueue } from '../steps/turn-queue.ts';
import type { IsolateWorker, WorkerEvents } from './worker-job.ts';

/** Isolates of one worker contend; more than this gain nothing and share more blame. */
const CAPACITY = 4;
/** Then what waits is refused rather than kept for workers that do not come. */
const MAX_START_FAILURES = 3;
/** After this many steps a worker's domain is worth one per core: while one worker makes its next isolate, the other runs. */
const STEPS_OF_A_BUSY_DOMAIN = 8;
const START_PAUSE_MS = 200;

export interface PoolJob extends QueuedJob {
  readonly isAlone: boolean;
  readonly needsJail: boolean;
  /** Called with a worker that takes steps; must put the job into it. */
  start(worker: IsolateWorker): void;
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
  /** The job that is to be alone in it, as long as it runs. */
  reservedFor: PoolJob | undefined;
  /** `draining`: takes no more steps, so that another domain gets its place when it is idle, unless another is so first. */
  phase: 'starting' | 'ready' | 'draining' | 'closing';
  /** Grows with every use: the lowest of the idle ones is evicted first. */
  lastUse: number;
  /** Jobs it was given. */
  served: number;
}

export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #capacity: number;
  readonly #slots = new Set<Slot>();
  /** First come, first served within a domain: a job that is to be alone would else be overtaken for good. */
  readonly #queue: TurnQueue<PoolJob>;
  #uses = 0;
  #startFailures = 0;
  #startsBlocked = false;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#capacity = options.capacity ?? CAPACITY;
    this.#queue = new TurnQueue(options.maxWaiting === undefined ? {} : { maxWaiting: options.maxWaiting });
  }

  /** Starts a first worker, so that the first job finds it ready. */
  warmUp(): void {
    if (this.#slots.size === 0 && !this.#startsBlocked) this.#spawn(undefined);
  }

  get figures(): { workers: number; waiting: number; running: number } {
    return { workers: this.#slots.size, waiting: this.#queue.waiting, running: this.#queue.running };
  }

  submit(job: PoolJob): QueueTicket {
    const onDone = (): void => {
      for (const slot of this.#slots) if (slot.reservedFor === job) slot.reservedFor = undefined;
      this.#dispatch();
    };
    // One that is run again has waited before.
    const ticket = this.#queue.submit(job, { isFirst: job.isAlone, onDone });
    this.#dispatch();
    return ticket;
  }

  /** Refuses the waiting jobs that `applies` names. */
  refuseWaiting(applies: (job: PoolJob) => boolean, message: string): void {
    this.#queue.refuse(applies, message);
  }

  /** Ends every worker; resolves when none is left. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#queue.close();
    await Promise.all([...this.#slots].map((slot) => slot.worker.close()));
  }

  #dispatch(): void {
    this.#queue.dispatch(
      (job) => this.#pick(job),
      (job, slot) => {
        slot.domain = job.domain;
        slot.isUsed = true;
        slot.reservedFor = job.isAlone ? job : undefined;
        slot.lastUse = ++this.#uses;
        slot.served++;
        job.start(slot.worker);
      },
    );
    if (!this.#isClosed) this.#grow();
  }

  #pick(job: PoolJob): Slot | undefined {
    let best: Slot | undefined;
    let fresh: Slot | undefined;
    let held = 0;
    for (const slot of this.#slots) {
      if (slot.domain === job.domain && slot.phase !== 'closing') held++;
      if (slot.phase !== 'ready' || slot.reservedFor !== undefined || !slot.worker.takesSteps) continue;
      if (job.needsJail && slot.worker.confinement.kind === 'none') continue;
      if (slot.domain === undefined) fresh = slot;
      else if (slot.domain !== job.domain || (job.isAlone && slot.isUsed) || slot.worker.jobs >= this.#capacity)
        continue;
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
    for (const turn of this.#queue.turns.sort((a, b) => a.lastServed - b.lastServed)) {
      if (this.#startsBlocked) return;
      this.#growFor(turn);
    }
  }

  #growFor({ domain, running, startable: [next] }: Turn<PoolJob>): void {
    const held = [...this.#slots].filter((slot) => slot.domain === domain && slot.phase !== 'closing');
    if (held.some((slot) => slot.phase === 'starting')) return;
    const isBusy = running > held.length || held.some((slot) => slot.served >= STEPS_OF_A_BUSY_DOMAIN);
    const wantsMore = isBusy && held.length < this.#wanted;
    if (next === undefined && !wantsMore) return;
    if (held.length >= this.#share) {
      if (next?.isAlone === true) this.#evict(held);
      return;
    }
    // A worker of nobody that is on its way is as good as a new one.
    if ([...this.#slots].some((slot) => slot.domain === undefined && slot.phase === 'starting')) return;
    if (this.#slots.size < this.#options.maxWorkers) this.#spawn(domain);
    else if (next !== undefined) {
      const others = [...this.#slots].filter((slot) => slot.domain !== domain);
      if (!this.#evict(others) && held.length === 0) this.#drain();
    }
  }

  /** Makes room, one place at a time: the least recently used worker that has no job goes. False when there is none. */
  #evict(slots: readonly Slot[]): boolean {
    if (this.#has('closing')) return true;
    const idle = slots.filter((slot) => slot.phase === 'ready' && slot.worker.jobs === 0);
    const [oldest] = idle.sort((a, b) => a.lastUse - b.lastUse);
    if (oldest === undefined) return this.#has('draining');
    this.#closeSlot(oldest);
    // Its step may take long, and need what waits for this place.
    for (const slot of this.#slots) if (slot.phase === 'draining') slot.phase = 'ready';
    return true;
  }

  /** All places are busy and a domain has none: the one with the fewest jobs finishes them and goes. */
  #drain(): void {
    const busy = [...this.#slots].filter((slot) => slot.phase === 'ready' && slot.reservedFor === undefined);
    const [next] = busy.sort((a, b) => a.worker.jobs - b.worker.jobs || a.lastUse - b.lastUse);
    if (next !== undefined) next.phase = 'draining';
  }

  #has(phase: Slot['phase']): boolean {
    return [...this.#slots].some((slot) => slot.phase === phase);
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
      reservedFor: undefined,
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
      this.refuseWaiting(() => true, message);
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
