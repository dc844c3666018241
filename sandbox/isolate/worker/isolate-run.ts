/**
 * One attempt in one isolate, from the plugin's first instruction to the proof that no code of it runs any more.
 *
 * Invariants:
 *   A1. The first thing that ends a run decides how it ended; what comes later changes nothing.
 *   A2. Every entry into the isolate is counted. `outcome` settles when all of them have settled after the isolate was
 *       disposed, or says that they did not in time (`isProven: false`).
 *   A3. Nothing here waits for the guest: each wait has a timer of ours, and each call of the guest looks at the clock,
 *       because a flood of calls can starve timers.
 *   A4. The host owns every limit as well; what is here makes the common case cheap.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { describeThrown } from '@flowops/sdk/thrown.ts';
import type ivm from 'isolated-vm';
import { GuestBridge, type GuestReport } from '../../guest/bridge.ts';
import { ENTER_OP, type GuestSettings, LOADING } from '../../guest/guest-protocol.ts';
import { POLL_MS, PROOF_OF_END_MS } from '../../guest/limits.ts';
import { failure, type RunEnd, type RunOutcome } from '../../guest/run-end.ts';
import type { CallAnswer, StepEvents } from '../../guest/step-events.ts';
import { END_SETTLE_MS, TIMEOUT_MARGIN_MS } from './limits.ts';
import type { IsolateHome, PreparedIsolate } from './prepared-isolate.ts';

export interface RunRequest {
  readonly settings: GuestSettings;
  readonly inputsJson: string;
  readonly limits: EffectiveLimits;
}

export interface RunEvents extends StepEvents {
  /** V8 has lost control of the isolate: the process has to end at once, with this as the run's end. */
  onCatastrophe(end: RunEnd): void;
}

type Phase =
  | { readonly name: 'running'; readonly wallTimer: NodeJS.Timeout; readonly pollTimer: NodeJS.Timeout }
  /** The task told its end; its thread is on the way out of the isolate. */
  | { readonly name: 'told'; readonly end: RunEnd; readonly timer: NodeJS.Timeout }
  | { readonly name: 'disposed'; readonly end: RunEnd; readonly timer: NodeJS.Timeout }
  | { readonly name: 'ended' };

export class IsolateRun {
  readonly outcome: Promise<RunOutcome>;
  readonly #prepared: PreparedIsolate;
  readonly #request: RunRequest;
  readonly #events: RunEvents;
  readonly #bridge: GuestBridge;
  readonly #settle: (outcome: RunOutcome) => void;
  readonly #startedAt = performance.now();
  readonly #cpuBaseNs: bigint;
  #phase: Phase;
  #openEntries = 0;
  #isLoading = false;
  #cancel: { readonly reason: string; readonly timer: NodeJS.Timeout } | undefined;
  /** Nothing of the guest was open when it told its end, and nothing came after. */
  #isClean = false;
  #kept: IsolateHome | undefined;
  #cpuMs = 0;
  #heapBytes = 0;
  #runMs = 0;

  /** Takes the isolate: it is disposed when the outcome is there. */
  constructor(prepared: PreparedIsolate, request: RunRequest, events: RunEvents) {
    this.#prepared = prepared;
    this.#request = request;
    this.#events = events;
    const outcome = Promise.withResolvers<RunOutcome>();
    this.outcome = outcome.promise;
    this.#settle = outcome.resolve;
    this.#cpuBaseNs = prepared.isolate.cpuTime;
    const { wallMs } = request.limits;
    const wallTimer = setTimeout(() => this.#endWall(), wallMs);
    const pollTimer = setInterval(() => this.#poll(), POLL_MS);
    this.#phase = { name: 'running', wallTimer, pollTimer };
    this.#bridge = new GuestBridge({
      limits: request.limits,
      events,
      fire: (id) => this.#call(ENTER_OP.timer, id),
      onReport: (report) => this.#takeReport(report),
      onLimit: (code, message) => this.#end(failure(code, message)),
    });
    prepared.owner = {
      onCall: (op, a, b, c) => this.#takeCall(op, a, b, c),
      onCatastrophe: () => this.#takeCatastrophe(),
      onIntruder: () =>
        this.#end(failure('SANDBOX_CRASHED', 'code of an earlier step of this plugin went on beside it')),
    };
    events.onStarted();
    this.#load();
  }

  /** With `freshness: context`: the isolate, where nothing of the run is left in it. Once, after the outcome. */
  takeKept(): IsolateHome | undefined {
    const kept = this.#kept;
    this.#kept = undefined;
    return kept;
  }

  /** The signal aborts and stop() is called; what still runs after `graceMs` is ended. A shorter grace counts. */
  cancel(graceMs: number, reason: string): void {
    if (this.#phase.name !== 'running') return;
    const isFirst = this.#cancel === undefined;
    clearTimeout(this.#cancel?.timer);
    const timer = setTimeout(() => this.#end({ status: 'CANCELLED', message: reason }), graceMs);
    this.#cancel = { reason, timer };
    if (isFirst) this.#call(ENTER_OP.stop);
  }

  pause(): void {
    this.#call(ENTER_OP.pause);
  }

  resume(): void {
    this.#call(ENTER_OP.resume);
  }

  /** The answer to a host call; false when no such call waits. */
  reply(callId: number, answer: CallAnswer): boolean {
    if (!this.#bridge.takeReply(callId)) return false;
    if (answer.ok) this.#call(ENTER_OP.reply, callId, answer.payloadJson);
    else this.#call(ENTER_OP.replyError, callId, answer.code, answer.message);
    return true;
  }

  #load(): void {
    const { settings, inputsJson } = this.#request;
    this.#enter(
      () => this.#prepared.load(() => this.#timeoutMs()),
      (loaded) => {
        const values = [ENTER_OP.run, loaded.derefInto({ release: true }), JSON.stringify(settings), inputsJson];
        this.#apply(this.#prepared.enter, values);
      },
    );
  }

  #call(op: number, ...values: (number | string)[]): void {
    this.#apply(this.#prepared.enter, [op, ...values]);
  }

  #apply(enter: ivm.Reference, values: unknown[]): void {
    this.#enter(
      () => enter.apply(undefined, values, { timeout: this.#timeoutMs() }),
      (answer) => {
        if (answer === LOADING) this.#isLoading = true;
        else if (values[0] === ENTER_OP.run || values[0] === ENTER_OP.probe) this.#isLoading = false;
        // Only an entry can have moved a top-level await on, so after each one it is asked again.
        if (this.#isLoading && values[0] !== ENTER_OP.run && values[0] !== ENTER_OP.probe) this.#call(ENTER_OP.probe);
      },
    );
  }

  #enter<T>(start: () => Promise<T>, then: (answer: T) => void): void {
    if (this.#phase.name !== 'running') return;
    this.#openEntries++;
    startEntry(start).then(
      (answer) => this.#settleEntry(() => then(answer)),
      (thrown: unknown) => {
        this.#isClean = false;
        this.#settleEntry(() => this.#end(this.#endOf(thrown)));
      },
    );
  }

  #settleEntry(next: () => void): void {
    this.#openEntries--;
    try {
      if (this.#phase.name === 'running') next();
    } catch (thrown) {
      this.#end(failure('SANDBOX_UNAVAILABLE', `the isolate could not be entered: ${messageOf(thrown)}`));
    }
    this.#afterEntry();
  }

  #afterEntry(): void {
    if (this.#openEntries > 0) return;
    if (this.#phase.name === 'told') this.#leave(this.#phase);
    else if (this.#phase.name === 'disposed') this.#finish(this.#phase.end, true);
  }

  /** Why an entry failed that the task's runtime did not report itself. */
  #endOf(thrown: unknown): RunEnd {
    if (this.#prepared.isolate.isDisposed) return this.#memoryEnd();
    if (this.#isOverdue()) return this.#wallEnd();
    // A module that threw, or a promise that was rejected and that nobody handled.
    const { message, stack } = describeThrown(thrown);
    return { status: 'FAILED', code: 'PLUGIN_ERROR', message, stack, isRetryable: true, retryAfterMs: 0 };
  }

  #takeCall(op: number, a: unknown, b: unknown, c: unknown): number | string {
    if (this.#phase.name !== 'running') {
      this.#isClean = false;
      return 1;
    }
    if (this.#isOverdue()) {
      this.#endWall();
      return 1;
    }
    return this.#bridge.take(op, a, b, c);
  }

  #takeReport(report: GuestReport): void {
    if (this.#phase.name !== 'running') return;
    this.#isClean = report.status === 'COMPLETED' && this.#cancel === undefined && !this.#bridge.hasOpenCalls;
    this.#stopTimers(this.#phase);
    const end: RunEnd = this.#cancel === undefined ? report : { status: 'CANCELLED', message: this.#cancel.reason };
    this.#phase = { name: 'told', end, timer: setTimeout(() => this.#dispose(end), END_SETTLE_MS) };
  }

  /** Out of memory beyond any handling, or a builtin that did not stop when told to. */
  #takeCatastrophe(): void {
    if (this.#phase.name === 'ended') return;
    const known = this.#phase.name === 'running' ? undefined : this.#phase.end;
    this.#events.onCatastrophe(known ?? (this.#isOverdue() ? this.#wallEnd() : this.#memoryEnd()));
  }

  #endWall(): void {
    this.#end(this.#wallEnd());
  }

  #wallEnd(): RunEnd {
    const { wallMs } = this.#request.limits;
    const isStuck = this.#openEntries === 0 && this.#bridge.isIdle;
    const why = isStuck ? '; it waits for something that cannot happen any more: no timer and no call is open' : '';
    return failure('LIMIT_WALL', `the step ran longer than its wall limit of ${wallMs} ms${why}`);
  }

  #isOverdue(): boolean {
    return performance.now() - this.#startedAt >= this.#request.limits.wallMs;
  }

  #timeoutMs(): number {
    const left = this.#request.limits.wallMs - (performance.now() - this.#startedAt);
    return Math.max(0, Math.ceil(left)) + TIMEOUT_MARGIN_MS;
  }

  #poll(): void {
    // Some builtins run on after the memory limit has ended their isolate, and no promise settles: it is seen here.
    if (this.#prepared.isolate.isDisposed) {
      this.#end(this.#memoryEnd());
      return;
    }
    this.#readCpu();
    const { cpuMs } = this.#request.limits;
    if (this.#cpuMs > cpuMs) this.#end(failure('LIMIT_CPU', `the step used more than its CPU limit of ${cpuMs} ms`));
  }

  #memoryEnd(): RunEnd {
    const { memoryMb } = this.#request.limits;
    return failure('LIMIT_MEMORY', `the step used more memory than its limit of ${memoryMb} MB`);
  }

  #readCpu(): void {
    const { isolate } = this.#prepared;
    if (!isolate.isDisposed) this.#cpuMs = Number(isolate.cpuTime - this.#cpuBaseNs) / 1e6;
  }

  /** Ends the run from outside the guest. */
  #end(end: RunEnd): void {
    if (this.#phase.name !== 'running') return;
    this.#stopTimers(this.#phase);
    this.#dispose(this.#cancel === undefined ? end : { status: 'CANCELLED', message: this.#cancel.reason });
  }

  /**
   * The task told its end and its last entry has come out of the isolate: microtasks run before an entry comes out, so
   * none is left. What could still call (timers, answers) is closed. Then the isolate need not be disposed.
   */
  #leave(phase: Extract<Phase, { name: 'told' }>): void {
    const prepared = this.#prepared;
    if (!this.#isClean || !prepared.isKept || prepared.isolate.isDisposed) {
      this.#dispose(phase.end);
      return;
    }
    clearTimeout(phase.timer);
    this.#runMs = performance.now() - this.#startedAt;
    this.#readCpu();
    this.#heapBytes = prepared.isolate.getHeapStatisticsSync().used_heap_size;
    const home = prepared.retire();
    if (home.isWorn(this.#request.limits.memoryMb)) home.dispose();
    else this.#kept = home;
    this.#phase = { name: 'disposed', end: phase.end, timer: phase.timer };
    this.#finish(phase.end, true);
  }

  #dispose(end: RunEnd): void {
    if (this.#phase.name === 'disposed' || this.#phase.name === 'ended') return;
    if (this.#phase.name === 'told') clearTimeout(this.#phase.timer);
    this.#runMs = performance.now() - this.#startedAt;
    const { isolate } = this.#prepared;
    this.#readCpu();
    // With a thread inside, this would wait for it.
    if (this.#openEntries === 0 && !isolate.isDisposed) {
      this.#heapBytes = isolate.getHeapStatisticsSync().used_heap_size;
    }
    const timer = setTimeout(() => this.#finish(end, false), PROOF_OF_END_MS);
    this.#phase = { name: 'disposed', end, timer };
    this.#prepared.dispose();
    this.#afterEntry();
  }

  #finish(end: RunEnd, isProven: boolean): void {
    if (this.#phase.name !== 'disposed') return;
    clearTimeout(this.#phase.timer);
    this.#phase = { name: 'ended' };
    this.#settle({
      end,
      usage: { cpuMs: this.#cpuMs, heapBytes: this.#heapBytes, runMs: this.#runMs },
      droppedLogLines: this.#bridge.droppedLogLines,
      isProven,
    });
  }

  #stopTimers(phase: Extract<Phase, { name: 'running' }>): void {
    clearTimeout(phase.wallTimer);
    clearInterval(phase.pollTimer);
    clearTimeout(this.#cancel?.timer);
    this.#bridge.close();
  }
}

/** An isolate that is gone may also throw at once. */
async function startEntry<T>(start: () => Promise<T>): Promise<T> {
  return start();
}
