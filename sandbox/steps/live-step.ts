/**
 * One step inside one sandbox, a worker or a container: its phase, its timers and its share of the sandbox's CPU. The
 * wall limit begins with Started. Owned by whoever serves it (isolate/worker-process.ts, container/served-step.ts), who
 * ends the sandbox when one of the timers here asks for it.
 */
import type { AttemptJob } from '../tier.ts';
import type { KernelFigures, StepEnd, StepEvents } from './step-end.ts';

/** From Invoke to the guest's first instruction: compiling the largest bundle takes well under a second. */
export const START_LIMIT_MS = 10_000;
/** The sandbox ends a step at its wall limit by itself; the host does when that did not work. */
export const WALL_GRACE_MS = 500;
/** The sandbox's own overhead and helper threads. */
export const CPU_GRACE_MS = 1_000;
/** Less of a core than this, and ready to run for at least half of the time: others had the cores (design 5.2). */
const STARVED_CPU_SHARE = 0.1;
const STARVED_DELAY_SHARE = 0.5;
/** Every promise of a run must have settled this long after the isolate was disposed (design 5.4). */
export const SETTLE_MS = 200;

/** An honest sandbox makes none beyond the limit; those that were on their way when it was reached. */
const HOST_CALL_SLACK = 16;

/** Node fires a longer timer at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

type StepPhase =
  | { readonly name: 'sent'; readonly timer: NodeJS.Timeout }
  | { readonly name: 'running'; readonly timer: NodeJS.Timeout }
  | { readonly name: 'cancelling'; readonly timer: NodeJS.Timeout; readonly deadline: number }
  | { readonly name: 'ended' };

/** What a timer of a step asks of its sandbox. */
export type Overdue = Extract<StepEnd, { kind: 'charged' | 'killed-on-cancel' }>;

/** Figures of the kernel about a sandbox at one moment. */
export interface SandboxFigures {
  readonly atMs: number;
  readonly cpuMs: number;
  /** Ready to run without a core. */
  readonly delayMs: number;
}

export class LiveStep {
  readonly token: Uint8Array;
  readonly job: AttemptJob;
  readonly events: StepEvents;
  readonly #onOverdue: (end: Overdue) => void;
  #phase: StepPhase;
  #hasStarted = false;
  /** CPU of the sandbox when this step was first looked at, and what it may have grown by since. */
  #base: SandboxFigures | undefined;
  #cpuBudgetMs: number;
  #hostCalls = 0;
  /** While it is and was alone in its sandbox, what that takes is what it takes. */
  #measure: (() => KernelFigures) | undefined;
  #used: KernelFigures | undefined;

  constructor(options: {
    token: Uint8Array;
    job: AttemptJob;
    events: StepEvents;
    /** CPU limits of the steps that are there already. */
    othersCpuMs: number;
    /** Given where it is alone. */
    measure?: (() => KernelFigures) | undefined;
    onOverdue: (end: Overdue) => void;
  }) {
    this.token = options.token;
    this.job = options.job;
    this.events = options.events;
    this.#onOverdue = options.onOverdue;
    this.#measure = options.measure;
    this.#cpuBudgetMs = options.othersCpuMs + options.job.limits.cpuMs;
    const detail = `its code did not begin within ${START_LIMIT_MS} ms`;
    this.#phase = { name: 'sent', timer: this.#arm(START_LIMIT_MS, { kind: 'charged', code: 'LIMIT_WALL', detail }) };
  }

  get isLive(): boolean {
    return this.#phase.name !== 'ended';
  }

  /** False when it had started before. */
  start(): boolean {
    if (this.#hasStarted || this.#phase.name === 'ended') return false;
    this.#hasStarted = true;
    if (this.#phase.name !== 'sent') return true;
    clearTimeout(this.#phase.timer);
    const { wallMs } = this.job.limits;
    const detail = `it ran longer than ${wallMs} ms`;
    const timer = this.#arm(wallMs + WALL_GRACE_MS, { kind: 'charged', code: 'LIMIT_WALL', detail });
    this.#phase = { name: 'running', timer };
    return true;
  }

  /** True when the sandbox is to be told: the first time, and when the grace becomes shorter. */
  cancel(graceMs: number): boolean {
    const deadline = performance.now() + graceMs;
    if (this.#phase.name === 'ended') return false;
    if (this.#phase.name === 'cancelling' && deadline >= this.#phase.deadline) return false;
    clearTimeout(this.#phase.timer);
    const timer = this.#arm(graceMs + SETTLE_MS, { kind: 'killed-on-cancel' });
    this.#phase = { name: 'cancelling', timer, deadline };
    return true;
  }

  /** Another step came into the sandbox: its CPU cannot be told from ours. */
  share(cpuMs: number): void {
    this.#cpuBudgetMs += cpuMs;
    this.#measure = undefined;
  }

  /** False: the sandbox passes on more calls than a step may make, which the real one never does. */
  countHostCall(): boolean {
    return ++this.#hostCalls <= this.job.limits.hostCalls + HOST_CALL_SLACK;
  }

  /** The watch has seen it for the first time; `figures` is not called again. */
  observe(figures: () => SandboxFigures | undefined): void {
    this.#base ??= figures();
  }

  /** True when the sandbox took more CPU since this step came than all steps since then may. */
  exceedsCpu(sandboxCpuMs: number): boolean {
    return this.#base !== undefined && sandboxCpuMs - this.#base.cpuMs > this.#cpuBudgetMs + CPU_GRACE_MS;
  }

  /** True when others had the cores while it ran. Unknown is false. */
  isStarved(now: SandboxFigures | undefined): boolean {
    if (this.#base === undefined || now === undefined) return false;
    const elapsedMs = now.atMs - this.#base.atMs;
    const isSlow = now.cpuMs - this.#base.cpuMs < elapsedMs * STARVED_CPU_SHARE;
    return isSlow && now.delayMs - this.#base.delayMs > elapsedMs * STARVED_DELAY_SHARE;
  }

  /** What it used so far is what it used; its cgroup may go. */
  stopMeasuring(): void {
    this.#used ??= this.#measure?.();
  }

  end(end: StepEnd): void {
    if (this.#phase.name === 'ended') return;
    this.stopMeasuring();
    clearTimeout(this.#phase.timer);
    this.#phase = { name: 'ended' };
    this.events.onEnded(end, this.#used);
  }

  #arm(ms: number, end: Overdue): NodeJS.Timeout {
    return setTimeout(() => this.#onOverdue(end), Math.min(ms, MAX_TIMER_MS));
  }
}
