/**
 * One attempt in the guest thread, from the plugin's first instruction to its end.
 *
 * Invariants:
 *   A1. The first thing that ends a run decides how it ended; what comes later changes nothing.
 *   A2. After `outcome` no code of the plugin runs in its thread: it is held in its last call, or was terminated, or
 *       the outcome says that this could not be shown in time (`isProven: false`).
 *   A3. The host owns every limit as well; what is here makes the common case cheap and its message exact.
 */
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import type { Thrown } from '@flowops/sdk/thrown.ts';
import { GuestBridge, type GuestReport } from '../../guest/bridge.ts';
import { ENTER_OP, type GuestSettings } from '../../guest/guest-protocol.ts';
import { POLL_MS, PROOF_OF_END_MS } from '../../guest/limits.ts';
import { failure, type RunEnd, type RunOutcome } from '../../guest/run-end.ts';
import type { CallAnswer, StepEvents } from '../../guest/step-events.ts';
import type { GuestThread } from './guest-thread.ts';
import type { GuestMode } from './thread-protocol.ts';

export interface ThreadRunRequest {
  readonly bundle: { readonly file: string; readonly source: string };
  readonly mode: GuestMode;
  readonly isWasmAllowed: boolean;
  readonly settings: GuestSettings;
  readonly inputsJson: string;
  readonly limits: EffectiveLimits;
  /** How much more than what was used this kernel may tell. */
  readonly cpuClockRate: number;
}

type Phase =
  /** The bundle is being compiled; nothing of the plugin has run. */
  | { readonly name: 'loading' }
  | { readonly name: 'running'; readonly wallTimer: NodeJS.Timeout; readonly pollTimer: NodeJS.Timeout }
  | { readonly name: 'ending' }
  | { readonly name: 'ended' };

export class ThreadRun {
  readonly outcome: Promise<RunOutcome>;
  readonly #thread: GuestThread;
  readonly #request: ThreadRunRequest;
  readonly #events: StepEvents;
  readonly #bridge: GuestBridge;
  readonly #settle: (outcome: RunOutcome) => void;
  #cpuBase = process.cpuUsage();
  #phase: Phase = { name: 'loading' };
  #startedAt = performance.now();
  #openEntries = 0;
  #cancel: { readonly reason: string; readonly timer: NodeJS.Timeout } | undefined;

  /** Takes the thread: nothing else is run in it. */
  constructor(thread: GuestThread, request: ThreadRunRequest, events: StepEvents) {
    this.#thread = thread;
    this.#request = request;
    this.#events = events;
    const outcome = Promise.withResolvers<RunOutcome>();
    this.outcome = outcome.promise;
    this.#settle = outcome.resolve;
    this.#bridge = new GuestBridge({
      limits: request.limits,
      events,
      fire: (id) => this.#enter(ENTER_OP.timer, id),
      onReport: (report) => this.#takeReport(report),
      onLimit: (code, message) => this.#end(failure(code, message)),
    });
    thread.owner = {
      onCall: (op, a, b, c) => this.#takeCall(op, a, b, c),
      onLoaded: () => this.#start(),
      onInvalid: (problem) => this.#end(failure('PLUGIN_INVALID', problem)),
      onEntering: () => this.#openEntries++,
      onEntered: () => this.#openEntries--,
      onThrown: (thrown) => this.#end(thrownEnd(thrown)),
      onOutOfMemory: () => this.#end(this.#memoryEnd()),
      onExit: (code) =>
        this.#end(failure('SANDBOX_CRASHED', `the plugin ended its own process with exit code ${code}`)),
    };
    const { bundle, mode, isWasmAllowed } = request;
    thread.send({ kind: 'load', source: bundle.source, file: bundle.file, mode, isWasmAllowed });
  }

  /** The signal aborts and stop() is called; what still runs after `graceMs` is ended. A shorter grace counts. */
  cancel(graceMs: number, reason: string) {
    if (this.#phase.name === 'loading') return this.#end({ status: 'CANCELLED', message: reason });
    if (this.#phase.name !== 'running') return;
    const isFirst = this.#cancel === undefined;
    clearTimeout(this.#cancel?.timer);
    const timer = setTimeout(() => this.#end({ status: 'CANCELLED', message: reason }), graceMs);
    this.#cancel = { reason, timer };
    if (isFirst) this.#enter(ENTER_OP.stop);
  }

  pause(): void {
    this.#enter(ENTER_OP.pause);
  }

  resume(): void {
    this.#enter(ENTER_OP.resume);
  }

  /** The answer to a host call; false when no such call waits. */
  reply(callId: number, answer: CallAnswer): boolean {
    if (!this.#bridge.takeReply(callId)) return false;
    if (answer.ok) this.#enter(ENTER_OP.reply, callId, answer.payloadJson);
    else this.#enter(ENTER_OP.replyError, callId, answer.code, answer.message);
    return true;
  }

  #start(): void {
    if (this.#phase.name !== 'loading') return;
    this.#startedAt = performance.now();
    this.#cpuBase = process.cpuUsage();
    const wallTimer = setTimeout(() => this.#end(this.#wallEnd()), this.#request.limits.wallMs);
    const pollTimer = setInterval(() => this.#poll(), POLL_MS);
    this.#phase = { name: 'running', wallTimer, pollTimer };
    this.#events.onStarted();
    const { settings, inputsJson } = this.#request;
    this.#openEntries++;
    this.#thread.send({ kind: 'run', settingsJson: JSON.stringify(settings), inputsJson });
  }

  #enter(op: number, ...values: (number | string)[]): void {
    if (this.#phase.name !== 'running') return;
    this.#openEntries++;
    this.#thread.send({ kind: 'enter', op, values });
  }

  #takeCall(op: number, a: unknown, b: unknown, c: unknown): number | string | undefined {
    if (this.#phase.name !== 'running') return undefined;
    const answer = this.#bridge.take(op, a, b, c);
    // What ended the run in this call holds the guest in it.
    return this.#isRunning() ? answer : undefined;
  }

  #takeReport(report: GuestReport): void {
    // The guest told this in a call that is never answered: it does nothing any more.
    this.#finish(this.#cancelled() ?? report, true);
  }

  #poll(): void {
    const { cpuMs } = this.#request.limits;
    if (this.#cpuMs() > cpuMs) this.#end(failure('LIMIT_CPU', `the step used more than its CPU limit of ${cpuMs} ms`));
  }

  #wallEnd(): RunEnd {
    const { wallMs } = this.#request.limits;
    const isStuck = this.#request.mode === 'context' && this.#openEntries === 0 && this.#bridge.isIdle;
    const why = isStuck ? '; it waits for something that cannot happen any more: no timer and no call is open' : '';
    return failure('LIMIT_WALL', `the step ran longer than its wall limit of ${wallMs} ms${why}`);
  }

  #memoryEnd(): RunEnd {
    const { memoryMb } = this.#request.limits;
    return failure('LIMIT_MEMORY', `the step used more memory than its limit of ${memoryMb} MB`);
  }

  /** Ends the run from outside the guest. */
  #end(end: RunEnd): void {
    if (this.#phase.name !== 'loading' && this.#phase.name !== 'running') return;
    const decided = this.#cancelled() ?? end;
    this.#stopTimers();
    this.#phase = { name: 'ending' };
    const timer = setTimeout(() => this.#finish(decided, false), PROOF_OF_END_MS);
    void this.#thread.terminate().then(() => {
      clearTimeout(timer);
      this.#finish(decided, true);
    });
  }

  #finish(end: RunEnd, isProven: boolean): void {
    if (this.#phase.name === 'ended') return;
    this.#stopTimers();
    this.#phase = { name: 'ended' };
    const runMs = performance.now() - this.#startedAt;
    // All of the process at its highest: what the host can measure from outside counts more.
    const heapBytes = process.resourceUsage().maxRSS * 1024;
    const usage = { cpuMs: this.#cpuMs(), heapBytes, runMs };
    this.#settle({ end, usage, droppedLogLines: this.#bridge.droppedLogLines, isProven });
  }

  #isRunning(): boolean {
    return this.#phase.name === 'running';
  }

  #cancelled(): RunEnd | undefined {
    return this.#cancel === undefined ? undefined : { status: 'CANCELLED', message: this.#cancel.reason };
  }

  #cpuMs(): number {
    const { user, system } = process.cpuUsage(this.#cpuBase);
    return (user + system) / 1000 / this.#request.cpuClockRate;
  }

  #stopTimers(): void {
    if (this.#phase.name === 'running') {
      clearTimeout(this.#phase.wallTimer);
      clearInterval(this.#phase.pollTimer);
    }
    clearTimeout(this.#cancel?.timer);
    this.#bridge.close();
  }
}

/** A module that threw, or what was rejected and nobody handled. */
function thrownEnd({ message, stack, isRetryable, retryAfterMs }: Thrown): RunEnd {
  return { status: 'FAILED', code: 'PLUGIN_ERROR', message, stack, isRetryable, retryAfterMs };
}
