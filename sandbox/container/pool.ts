/**
 * Which step gets which container, and when containers are made and given up. A container takes one step and only one
 * of its own shape (key); some wait ahead for each key in use; waiting steps are taken round robin over trust domains
 * (design 5.2). Knows nothing of Docker; deterministic: the time comes in with `now`, `tick` is called from outside.
 *
 * Invariants:
 *   L1. A container is given at most one job, and only while it is ready.
 *   L2. Keys and containers are bounded; those that are being removed still count.
 *   L3. What waits under another policy than the one in force is not filled up and not kept.
 */
import { type QueuedJob, type QueueTicket, TurnQueue } from '../steps/turn-queue.ts';
import type { StartProblem } from './held-container.ts';

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

export interface PoolJob<Shape extends PoolShape, Container extends PoolContainer> extends QueuedJob {
  readonly shape: Shape;
  /** Called with a container that is ready; must give it the step. */
  start(container: Container): void;
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

export class ContainerPool<Shape extends PoolShape, Container extends PoolContainer> {
  readonly #options: PoolOptions<Shape, Container>;
  readonly #keys = new Map<string, Key<Shape, Container>>();
  readonly #queue: TurnQueue<PoolJob<Shape, Container>>;
  #policyHash: string | undefined;
  #isClosed = false;

  constructor(options: PoolOptions<Shape, Container>) {
    this.#options = options;
    const { maxContainers, maxWaiting } = options;
    this.#queue = new TurnQueue({
      // A domain has no more than half of all places.
      maxRunning: Math.max(1, Math.floor(maxContainers / 2)),
      // The next one's shape may be another.
      mayOvertake: true,
      ...(maxWaiting === undefined ? {} : { maxWaiting }),
    });
  }

  get figures(): { starting: number; ready: number; used: number; closing: number; waiting: number; keys: number } {
    const count = (phase: Slot<Container>['phase']) => this.#count(phase);
    return {
      starting: count('starting'),
      ready: count('waiting'),
      used: count('used'),
      closing: count('closing'),
      waiting: this.#queue.waiting,
      keys: this.#keys.size,
    };
  }

  submit(job: PoolJob<Shape, Container>): QueueTicket {
    const ticket = this.#queue.submit(job, { onDone: () => this.#dispatch() });
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
    this.#queue.refuse(applies, message);
  }

  /** Ends every container; resolves when all are gone. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#queue.close();
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

  #dispatch(): void {
    const hasStarted = this.#queue.dispatch(
      ({ shape }) => this.#pick(shape.key),
      (job, slot) => {
        slot.phase = 'used'; // L1
        this.#key(job.shape).lastUsedMs = this.#options.now();
        job.start(slot.container);
      },
    );
    if (this.#isClosed) return;
    const isHeldUp = this.#makeWanted();
    // Making takes the cores for as long as a short step does: its successor is made when it has ended, or at a tick.
    if (!isHeldUp && !hasStarted) this.#fillAhead();
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
    const wanted = new Map<string, Shape[]>();
    for (const { shape } of this.#queue.turns.flatMap(({ startable }) => startable)) {
      wanted.set(shape.key, [...(wanted.get(shape.key) ?? []), shape]);
    }
    for (const [shape, ...others] of wanted.values()) {
      if (shape === undefined) continue;
      const key = this.#key(shape);
      key.lastUsedMs = this.#options.now();
      for (let coming = countOf(key, 'starting'); coming <= others.length; coming++) {
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
  #hasPlaceFor(key: Key<Shape, Container>, wanted: ReadonlyMap<string, unknown>): boolean {
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
