/**
 * Which step gets which container, and when containers are made and given up. A container takes one step and only one
 * of its own shape (key); some wait ahead for each key in use; waiting steps are taken round robin over trust domains
 * (design 5.2). Knows nothing of Docker; deterministic: the time comes in with `now`, `tick` is called from outside.
 *
 * Invariants:
 *   L1. A container is given at most one job, and only while it is ready.
 *   L2. Every submitted job is started, withdrawn or refused. Waiting jobs, keys and containers are bounded; those that
 *       are being removed still count.
 *   L3. What waits under another policy than the one in force is not filled up and not kept.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { StartProblem } from './held-container.ts';

/** Some seconds of steps; an engine that is told so waits with further ones. */
const MAX_WAITING = 4096;
/** Then what waits is refused rather than kept for containers that do not come. */
const MAX_START_FAILURES = 3;
/** Also a part of PID 1's life time; an unused one costs a renewal each time. */
export const MAX_AGE_MS = 120_000;
/** Without a step for this long, nothing waits for a key any more. */
const KEY_IDLE_MS = 300_000;

export interface PoolContainer {
  readonly isReady: boolean;
  close(): Promise<void>;
}

export interface PoolContainerEvents {
  onReady(): void;
  onGone(problem: StartProblem | undefined): void;
}

export interface PoolShape {
  readonly key: string;
  readonly policyHash: string;
}

export interface PoolJob<Shape extends PoolShape, Container extends PoolContainer> {
  /** Publisher, or plugin when unsigned. */
  readonly domain: string;
  /** Steps of the domain at a time. */
  readonly concurrent: number;
  readonly shape: Shape;
  /** Called with a container that is ready; must give it the step. */
  start(container: Container): void;
  refuse(code: ErrorCode, message: string): void;
}

export interface PoolTicket {
  /** True when the job had not started; it then never will. */
  withdraw(): boolean;
  /** The job's step has ended. */
  done(): void;
}

export interface PoolOptions<Shape extends PoolShape, Container extends PoolContainer> {
  readonly maxContainers: number;
  readonly ahead: number;
  /** Being made at one time. */
  readonly maxStarting: number;
  readonly maxWaiting?: number;
  readonly now: () => number;
  make(shape: Shape, events: PoolContainerEvents): Container;
}

interface Slot<Container> {
  readonly container: Container;
  phase: 'starting' | 'waiting' | 'used' | 'closing';
  readyAtMs: number;
}

interface Key<Shape, Container> {
  readonly shape: Shape;
  readonly slots: Set<Slot<Container>>;
  lastUsedMs: number;
  /** In a row. */
  startFailures: number;
}

interface Entry<Shape extends PoolShape, Container extends PoolContainer> {
  readonly job: PoolJob<Shape, Container>;
  hasStarted: boolean;
}

interface Domain<Shape extends PoolShape, Container extends PoolContainer> {
  readonly waiting: Entry<Shape, Container>[];
  running: number;
}

export class ContainerPool<Shape extends PoolShape, Container extends PoolContainer> {
  readonly #options: PoolOptions<Shape, Container>;
  readonly #keys = new Map<string, Key<Shape, Container>>();
  /** Domains with waiting or running jobs; the first is next in turn. */
  readonly #domains = new Map<string, Domain<Shape, Container>>();
  #policyHash: string | undefined;
  #waiting = 0;
  #isClosed = false;

  constructor(options: PoolOptions<Shape, Container>) {
    this.#options = options;
  }

  get figures(): { starting: number; ready: number; used: number; closing: number; waiting: number; keys: number } {
    const count = (phase: Slot<Container>['phase']) => this.#count(phase);
    return {
      starting: count('starting'),
      ready: count('waiting'),
      used: count('used'),
      closing: count('closing'),
      waiting: this.#waiting,
      keys: this.#keys.size,
    };
  }

  submit(job: PoolJob<Shape, Container>): PoolTicket {
    if (this.#isClosed || this.#waiting >= (this.#options.maxWaiting ?? MAX_WAITING)) {
      const why = this.#isClosed ? 'is shutting down' : 'has too many steps waiting; try again later';
      job.refuse('SANDBOX_UNAVAILABLE', `the sandbox host ${why}`);
      return { withdraw: () => false, done: () => {} };
    }
    const domain = this.#domains.get(job.domain) ?? { waiting: [], running: 0 };
    this.#domains.set(job.domain, domain);
    this.#key(job.shape).lastUsedMs = this.#options.now();
    const entry: Entry<Shape, Container> = { job, hasStarted: false };
    domain.waiting.push(entry);
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
        if (isDone || !entry.hasStarted) return;
        isDone = true;
        domain.running--;
        this.#forget(job.domain);
        this.#dispatch();
      },
    };
    this.#dispatch();
    return ticket;
  }

  /** The policy that is in force from now on. */
  keepOnly(policyHash: string): void {
    this.#policyHash = policyHash;
    this.#closeWaiting((key) => key.shape.policyHash !== policyHash);
    this.#dispatch();
  }

  /** From time to time: what waited too long is renewed, what nobody asks for is given up. */
  tick(): void {
    const now = this.#options.now();
    this.#closeWaiting((key, slot) => now - slot.readyAtMs > MAX_AGE_MS || now - key.lastUsedMs > KEY_IDLE_MS);
    for (const [name, key] of this.#keys) {
      if (key.slots.size === 0 && now - key.lastUsedMs > KEY_IDLE_MS) this.#keys.delete(name);
    }
    this.#dispatch();
  }

  /** Refuses the waiting jobs that `applies` names. */
  refuseWaiting(applies: (job: PoolJob<Shape, Container>) => boolean, message: string): void {
    const refused: PoolJob<Shape, Container>[] = [];
    for (const [name, domain] of [...this.#domains]) {
      const keep = domain.waiting.filter(({ job }) => !applies(job));
      refused.push(...domain.waiting.map(({ job }) => job).filter(applies));
      domain.waiting.splice(0, domain.waiting.length, ...keep);
      this.#forget(name);
    }
    this.#waiting -= refused.length;
    for (const job of refused) job.refuse('SANDBOX_UNAVAILABLE', message);
  }

  /** Ends every container; resolves when all are gone. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.refuseWaiting(() => true, 'the sandbox host is shutting down');
    const all = [...this.#keys.values()].flatMap(({ slots }) => [...slots]);
    await Promise.all(all.map(({ container }) => container.close()));
  }

  #key(shape: Shape): Key<Shape, Container> {
    const known = this.#keys.get(shape.key);
    if (known !== undefined) return known;
    const key: Key<Shape, Container> = { shape, slots: new Set(), lastUsedMs: this.#options.now(), startFailures: 0 };
    this.#keys.set(shape.key, key);
    return key;
  }

  #forget(name: string): void {
    const domain = this.#domains.get(name);
    if (domain?.waiting.length === 0 && domain.running === 0) this.#domains.delete(name);
  }

  #dispatch(): void {
    let hasStarted = false;
    for (let progress = this.#waiting > 0; progress; ) {
      progress = false;
      for (const name of [...this.#domains.keys()]) progress = this.#startNext(name) || progress;
      hasStarted ||= progress;
    }
    if (this.#isClosed) return;
    const isHeldUp = this.#makeWanted();
    // Making takes the cores for as long as a short step does: its successor is made when it has ended, or at a tick.
    if (!isHeldUp && !hasStarted) this.#fillAhead();
  }

  #startNext(name: string): boolean {
    const domain = this.#domains.get(name);
    if (domain === undefined) return false;
    for (const entry of this.#runnable(domain)) {
      const slot = this.#pick(entry.job.shape.key);
      if (slot === undefined) continue;
      domain.waiting.splice(domain.waiting.indexOf(entry), 1);
      this.#waiting--;
      domain.running++;
      // Its next job waits for everybody else's turn.
      this.#domains.delete(name);
      this.#domains.set(name, domain);
      slot.phase = 'used'; // L1
      entry.hasStarted = true;
      entry.job.start(slot.container);
      return true;
    }
    return false;
  }

  /** The jobs of a domain that may run now, oldest first: no more than its rule allows, nor than half of all places. */
  #runnable({ waiting, running }: Domain<Shape, Container>): Entry<Shape, Container>[] {
    const share = Math.max(1, Math.floor(this.#options.maxContainers / 2));
    const concurrent = Math.max(1, waiting[0]?.job.concurrent ?? 1);
    return waiting.slice(0, Math.max(0, Math.min(concurrent, share) - running));
  }

  /** The one that waits longest. */
  #pick(key: string): Slot<Container> | undefined {
    for (const slot of this.#keys.get(key)?.slots ?? []) {
      if (slot.phase === 'waiting' && slot.container.isReady) return slot;
    }
    return undefined;
  }

  /** Containers that steps wait for. True when some still wait. */
  #makeWanted(): boolean {
    const wanted = new Map<string, number>();
    for (const domain of this.#domains.values()) {
      for (const { job } of this.#runnable(domain)) wanted.set(job.shape.key, (wanted.get(job.shape.key) ?? 0) + 1);
    }
    for (const [name, jobs] of wanted) {
      const key = this.#keys.get(name);
      if (key === undefined) continue;
      for (let coming = countOf(key, 'starting'); coming < jobs; coming++) {
        if (this.#count('starting') >= this.#options.maxStarting || !this.#hasPlaceFor(key, wanted)) break;
        this.#make(key);
      }
    }
    return wanted.size > 0;
  }

  #fillAhead(): void {
    for (const key of this.#keys.values()) {
      if (!this.#isKept(key) || key.startFailures > 0) continue;
      const spare = countOf(key, 'starting') + countOf(key, 'waiting');
      for (let have = spare; have < this.#options.ahead; have++) {
        if (this.#count('starting') >= this.#options.maxStarting || this.#size >= this.#options.maxContainers) return;
        this.#make(key);
      }
    }
  }

  #isKept({ shape, lastUsedMs }: Key<Shape, Container>): boolean {
    const isInForce = this.#policyHash === undefined || shape.policyHash === this.#policyHash; // L3
    return isInForce && this.#options.now() - lastUsedMs <= KEY_IDLE_MS;
  }

  /** True when there is a place; else one is made where a container waits that nobody asks for. */
  #hasPlaceFor(key: Key<Shape, Container>, wanted: ReadonlyMap<string, number>): boolean {
    if (this.#size < this.#options.maxContainers) return true;
    if (this.#count('closing') > 0) return false;
    let oldest: Key<Shape, Container> | undefined;
    for (const [name, other] of this.#keys) {
      if (other === key || wanted.has(name) || countOf(other, 'waiting') === 0) continue;
      if (oldest === undefined || other.lastUsedMs < oldest.lastUsedMs) oldest = other;
    }
    const slot = [...(oldest?.slots ?? [])].find(({ phase }) => phase === 'waiting');
    if (slot !== undefined) closeSlot(slot);
    return false;
  }

  #make(key: Key<Shape, Container>): void {
    let hasBeenReady = false;
    const container = this.#options.make(key.shape, {
      onReady: () => {
        hasBeenReady = true;
        key.startFailures = 0;
        if (slot.phase !== 'starting') return;
        slot.phase = 'waiting';
        slot.readyAtMs = this.#options.now();
        this.#dispatch();
        if (slot.phase === 'waiting' && !this.#isKept(key)) closeSlot(slot);
      },
      onGone: (problem) => {
        key.slots.delete(slot);
        if (problem !== undefined && !hasBeenReady) this.#onStartFailure(key, problem);
        this.#dispatch();
      },
    });
    const slot: Slot<Container> = { container, phase: 'starting', readyAtMs: 0 };
    key.slots.add(slot);
  }

  #onStartFailure(key: Key<Shape, Container>, problem: StartProblem): void {
    key.startFailures++;
    if (problem.kind === 'unlucky' && key.startFailures < MAX_START_FAILURES) return;
    const name = key.shape.key;
    this.refuseWaiting((job) => problem.kind === 'docker' || job.shape.key === name, problem.text);
  }

  #closeWaiting(applies: (key: Key<Shape, Container>, slot: Slot<Container>) => boolean): void {
    for (const key of this.#keys.values()) {
      for (const slot of key.slots) if (slot.phase === 'waiting' && applies(key, slot)) closeSlot(slot);
    }
  }

  #count(phase: Slot<Container>['phase']): number {
    let count = 0;
    for (const key of this.#keys.values()) count += countOf(key, phase);
    return count;
  }

  get #size(): number {
    let size = 0;
    for (const { slots } of this.#keys.values()) size += slots.size;
    return size;
  }
}

function countOf<Container>({ slots }: { slots: Set<Slot<Container>> }, phase: Slot<Container>['phase']): number {
  let count = 0;
  for (const slot of slots) if (slot.phase === phase) count++;
  return count;
}

function closeSlot<Container extends PoolContainer>(slot: Slot<Container>): void {
  slot.phase = 'closing';
  void slot.container.close();
}
