/**
 * One simulated operating-system process: it can be killed (nothing of it acts any more, whatever its promises still
 * do), stopped and woken (what reached it meanwhile waits, its timers fire late), and killed at its next call to the
 * outside, which is where a crash can be told from another by anybody else.
 *
 * Invariant: whatever comes to the code of a process comes through `enter`; whatever leaves it asks `leave` first.
 */
import { EPOCH_MS, type Happening, type World } from './world.ts';

/** Where in a call to the outside a process dies. */
export type CrashPoint = 'before' | 'sent' | 'answered';

export class SimProcess {
  readonly name: string;
  readonly world: World;
  #state: 'running' | 'stopped' | 'dead' = 'running';
  readonly #lateTimers: (() => void)[] = [];
  readonly #inbox: (() => void)[] = [];
  readonly #onDeath: (() => void)[] = [];
  #crash: { calls: number; readonly point: CrashPoint } | undefined;
  /** Calls to the outside so far. */
  calls = 0;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }

  get state(): 'running' | 'stopped' | 'dead' {
    return this.#state;
  }

  get isDead(): boolean {
    return this.#state === 'dead';
  }

  /** Something reaches the process. */
  enter(act: () => void): void {
    if (this.#state === 'running') act();
    else if (this.#state === 'stopped') this.#inbox.push(act);
  }

  /** A timer of the process. */
  after(delayMs: number, act: () => void): Happening {
    let isCancelled = false;
    const fire = () => {
      if (isCancelled) return;
      if (this.#state === 'running') act();
      else if (this.#state === 'stopped') this.#lateTimers.push(fire);
    };
    const happening = this.world.at(delayMs, fire);
    return {
      cancel: () => {
        isCancelled = true;
        happening.cancel();
      },
    };
  }

  /** Dies at its call to the outside number `calls` from now, at this point of it. */
  crashAt(calls: number, point: CrashPoint): void {
    this.#crash = { calls, point };
  }

  /**
   * The process calls the outside. `no`: it is dead, the call does not leave; `last`: the call leaves and the process is
   * dead; `once`: it dies when the answer comes.
   */
  leave(): 'no' | 'yes' | 'last' | 'once' {
    if (this.#state === 'dead') return 'no';
    this.calls++;
    if (this.#crash === undefined || --this.#crash.calls > 0) return 'yes';
    const { point } = this.#crash;
    this.#crash = undefined;
    if (point === 'answered') return 'once';
    this.world.tell(this.name, `dies at a call, ${point}`);
    this.kill();
    return point === 'before' ? 'no' : 'last';
  }

  onDeath(act: () => void): void {
    this.#onDeath.push(act);
  }

  kill(): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#inbox.length = 0;
    this.#lateTimers.length = 0;
    for (const act of this.#onDeath.splice(0)) act();
  }

  stop(): void {
    if (this.#state === 'running') this.#state = 'stopped';
  }

  /** Its late timers fire, as Node does it, before it takes what reached it; each when the one before came to rest. */
  wake(): void {
    if (this.#state !== 'stopped') return;
    this.#state = 'running';
    for (const fire of this.#lateTimers.splice(0)) this.world.at(0, fire);
    for (const act of this.#inbox.splice(0)) this.world.at(0, () => this.enter(act));
  }

  /** Resolves after `ms`, or early when the signal aborts. Never, in a process that is dead by then. */
  pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      // As setTimeout does: whole milliseconds, at least one.
      const timer = this.after(Math.max(1, Math.ceil(ms)), done);
      signal.addEventListener('abort', done, { once: true });
      function done(): void {
        timer.cancel();
        signal.removeEventListener('abort', done);
        resolve();
      }
    });
  }

  /** Epoch ms of this machine's clock. */
  nowMs(): number {
    return Math.round(EPOCH_MS + this.world.nowMs);
  }
}
