/**
 * The steps that wait for a place, whatever a place is: each trust domain in the order in which its steps came, the
 * domains in turn, so that none waits for another's pile (design 5.2). Bounded; deterministic; knows nothing of workers
 * or containers: a pool says which place a step could have, and makes places.
 *
 * Invariants:
 *   Q1. Every submitted job is started, withdrawn or refused, once.
 *   Q2. A domain runs no more at a time than its rule allows, nor than the pool grants to any.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';

/** Some seconds of steps; an engine that is told so waits with further ones. */
const MAX_WAITING = 4096;

export interface QueuedJob {
  /** Publisher, or plugin when unsigned. */
  readonly domain: string;
  /** Steps of the domain at a time. */
  readonly concurrent: number;
  refuse(code: ErrorCode, message: string): void;
}

export interface QueueTicket {
  /** True when the job had not started; it then never will. */
  withdraw(): boolean;
  /** The job has left its place. */
  done(): void;
}

export interface QueueOptions {
  readonly maxWaiting?: number;
  /** Of one domain, whatever its rule says. */
  readonly maxRunning?: number;
  /** A job may start before an older one of its domain that finds no place. */
  readonly mayOvertake?: boolean;
}

/** A domain as it stands. */
export interface Turn<Job> {
  readonly domain: string;
  readonly running: number;
  /** Those that may start as soon as there is a place for them, oldest first. */
  readonly startable: readonly Job[];
  /** Grows with every start of any domain; 0 for one that was not served yet. */
  readonly lastServed: number;
}

interface Entry<Job> {
  readonly job: Job;
  phase: 'waiting' | 'started' | 'over';
}

interface Domain<Job> {
  readonly waiting: Entry<Job>[];
  running: number;
  lastServed: number;
}

export class TurnQueue<Job extends QueuedJob> {
  readonly #options: QueueOptions;
  /** Domains with waiting or running jobs; the first is next in turn. */
  readonly #domains = new Map<string, Domain<Job>>();
  #waiting = 0;
  #starts = 0;
  #isClosed = false;

  constructor(options: QueueOptions = {}) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get running(): number {
    let running = 0;
    for (const domain of this.#domains.values()) running += domain.running;
    return running;
  }

  /** `onDone`: the job has left its place. `isFirst`: it has waited before. */
  submit(job: Job, { isFirst = false, onDone }: { isFirst?: boolean; onDone: () => void }): QueueTicket {
    if (this.#isClosed || this.#waiting >= (this.#options.maxWaiting ?? MAX_WAITING)) {
      const why = this.#isClosed ? 'is shutting down' : 'has too many steps waiting; try again later';
      job.refuse('SANDBOX_UNAVAILABLE', `the sandbox host ${why}`);
      return { withdraw: () => false, done: () => {} };
    }
    const domain = this.#domains.get(job.domain) ?? { waiting: [], running: 0, lastServed: 0 };
    this.#domains.set(job.domain, domain);
    const entry: Entry<Job> = { job, phase: 'waiting' };
    if (isFirst) domain.waiting.unshift(entry);
    else domain.waiting.push(entry);
    this.#waiting++;
    return {
      withdraw: () => {
        if (entry.phase !== 'waiting') return false;
        this.#take(domain, entry, 'over');
        this.#forget(job.domain);
        return true;
      },
      done: () => {
        if (entry.phase !== 'started') return;
        entry.phase = 'over';
        domain.running--;
        this.#forget(job.domain);
        onDone();
      },
    };
  }

  /**
   * Goes round until nobody gets a place any more; true when somebody did. A job counts as started before `start` is
   * called with it.
   */
  dispatch<Place>(pick: (job: Job) => Place | undefined, start: (job: Job, place: Place) => void): boolean {
    let hasStarted = false;
    for (let progress = this.#waiting > 0; progress; hasStarted ||= progress) {
      progress = false;
      for (const name of [...this.#domains.keys()]) progress = this.#startNext(name, pick, start) || progress;
    }
    return hasStarted;
  }

  /** Next in turn first. */
  get turns(): Turn<Job>[] {
    return [...this.#domains].map(([domain, state]) => ({
      domain,
      running: state.running,
      startable: this.#startable(state).map(({ job }) => job),
      lastServed: state.lastServed,
    }));
  }

  /** Refuses the waiting jobs that `applies` names. */
  refuse(applies: (job: Job) => boolean, message: string): void {
    const refused: Job[] = [];
    for (const [name, domain] of [...this.#domains]) {
      for (const entry of domain.waiting.filter(({ job }) => applies(job))) {
        this.#take(domain, entry, 'over');
        refused.push(entry.job);
      }
      this.#forget(name);
    }
    for (const job of refused) job.refuse('SANDBOX_UNAVAILABLE', message);
  }

  /** Refuses everything, from now on too. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.refuse(() => true, 'the sandbox host is shutting down');
  }

  #startNext<Place>(
    name: string,
    pick: (job: Job) => Place | undefined,
    start: (job: Job, place: Place) => void,
  ): boolean {
    const domain = this.#domains.get(name);
    if (domain === undefined) return false;
    for (const entry of this.#startable(domain)) {
      const place = pick(entry.job);
      if (place === undefined && this.#options.mayOvertake === true) continue;
      if (place === undefined) return false;
      this.#take(domain, entry, 'started'); // Q1
      domain.running++;
      domain.lastServed = ++this.#starts;
      // Its next job waits for everybody else's turn.
      this.#domains.delete(name);
      this.#domains.set(name, domain);
      start(entry.job, place);
      return true;
    }
    return false;
  }

  /** Q2 */
  #startable({ waiting, running }: Domain<Job>): Entry<Job>[] {
    const concurrent = Math.max(1, waiting[0]?.job.concurrent ?? 1);
    return waiting.slice(0, Math.max(0, Math.min(concurrent, this.#options.maxRunning ?? concurrent) - running));
  }

  #take({ waiting }: Domain<Job>, entry: Entry<Job>, phase: 'started' | 'over'): void {
    waiting.splice(waiting.indexOf(entry), 1);
    entry.phase = phase;
    this.#waiting--;
  }

  #forget(name: string): void {
    const domain = this.#domains.get(name);
    if (domain?.waiting.length === 0 && domain.running === 0) this.#domains.delete(name);
  }
}
