/**
 * One attempt in a tier, whichever it is: from the pool's queue to a place and to its end, again where its end was no
 * fault of its own, and the words and figures in which the end is told. What a place is, how one is asked for and what a
 * lost one means is the tier's (isolate/tier.ts, container/tier.ts).
 *
 * Invariants:
 *   T1. `ended` settles once, and only after no code of the attempt runs any more.
 *   T2. An attempt that was cancelled is never started again.
 */
import { assertNever, type ErrorCode } from '@flowops/proto/errors.ts';
import type { Log, Result } from '@flowops/proto/sandbox_pb.js';
import { LogCap } from '../attempts/log-cap.ts';
import { failedOutcome, readSandboxResult, type TierOutcome } from '../attempts/sandbox-result.ts';
import type { TierEnd, TierEvents, TierFigures, TierRequest, TierRun } from '../tier.ts';
import { explainEnd } from './explain-end.ts';
import type { KernelFigures, StepEnd, StepEvents, StepHandle } from './step-end.ts';
import type { QueueTicket } from './turn-queue.ts';

type State =
  /** The tier looks whether it can run it at all. */
  | { readonly phase: 'preparing' }
  | { readonly phase: 'queued'; readonly ticket: QueueTicket | undefined }
  | { readonly phase: 'placed'; readonly ticket: QueueTicket | undefined; readonly handle: StepHandle | undefined }
  | { readonly phase: 'ended' };

/** What a tier tells of the place; the rest of a receipt's figures is the same for all. */
export type PlaceFigures = Pick<
  TierFigures,
  'tier' | 'jail' | 'runtime' | 'freshness' | 'imageDigest' | 'cpuMs' | 'peakMemoryBytes' | 'sources'
>;

export abstract class TierAttempt implements TierRun {
  readonly ended: Promise<TierEnd>;
  protected readonly request: TierRequest;
  readonly #settle: (end: TierEnd) => void;
  readonly #events: TierEvents;
  readonly #log: LogCap;
  readonly #submittedAt = performance.now();
  #state: State = { phase: 'preparing' };
  #cancel: { graceMs: number; reason: string } | undefined;
  #assignedAt: number | undefined;
  #startedAt: number | undefined;
  /** A wall limit was missed because others had the cores: once it is run again, then it ends so. */
  #starved: 'never' | 'once' | 'ended' = 'never';
  /** Of its last time in a sandbox. */
  #used: KernelFigures | undefined;
  #toldDropped = 0;

  constructor(request: TierRequest, events: TierEvents) {
    this.request = request;
    this.#events = events;
    this.#log = new LogCap(request.limits.logBytes);
    const ended = Promise.withResolvers<TierEnd>();
    this.ended = ended.promise;
    this.#settle = ended.resolve;
  }

  /** Asks for a place, with `enqueue`, or ends the attempt. Called again for each further try. */
  abstract submit(isAlone: boolean): void;
  /** Its sandbox was lost and it may not have been its doing: tries again or ends it. Not called when it is cancelled. */
  protected abstract onLost(end: Extract<StepEnd, { kind: 'suspect' | 'innocent' }>): void;
  protected abstract placeFigures(used: KernelFigures | undefined, result: Result | undefined): PlaceFigures;

  cancel(options: { graceMs: number; reason: string }): void {
    this.#cancel = options;
    const state = this.#state;
    switch (state.phase) {
      case 'preparing':
        this.#finishCancelled();
        return;
      case 'queued':
        if (state.ticket?.withdraw()) this.#finishCancelled();
        return;
      case 'placed':
        state.handle?.cancel(options);
        return;
      case 'ended':
        return;
      default:
        assertNever(state);
    }
  }

  pause(): void {
    if (this.#state.phase === 'placed') this.#state.handle?.pause();
  }

  resume(): void {
    if (this.#state.phase === 'placed') this.#state.handle?.resume();
  }

  protected get isPreparing(): boolean {
    return this.#state.phase === 'preparing';
  }

  protected get hasStarted(): boolean {
    return this.#startedAt !== undefined;
  }

  protected enqueue(submit: () => QueueTicket): void {
    this.#state = { phase: 'queued', ticket: undefined };
    this.#keepTicket(submit());
  }

  /** The pool may have started, or refused, the job before it gave the ticket. */
  #keepTicket(ticket: QueueTicket): void {
    if (this.#state.phase === 'queued' || this.#state.phase === 'placed') this.#state = { ...this.#state, ticket };
  }

  /** It has a place; `run` puts it there. */
  protected place(run: (events: StepEvents) => StepHandle): void {
    const ticket = this.#state.phase === 'queued' ? this.#state.ticket : undefined;
    this.#state = { phase: 'placed', ticket, handle: undefined };
    this.#assignedAt = performance.now();
    const handle = run({
      onStarted: () => this.#onStarted(),
      onLog: (log) => this.#onLog(log),
      onProgress: (progress) => this.#events.onProgress(progress),
      onHostCall: (call) => this.#events.onHostCall(call),
      onEnded: (end, used) => this.#onEnded(end, used),
    });
    if (this.#state.phase !== 'placed') return;
    this.#state = { ...this.#state, handle };
    if (this.#cancel !== undefined) handle.cancel(this.#cancel);
  }

  protected again(isAlone: boolean): void {
    this.#events.onRestarted?.();
    this.#state = { phase: 'preparing' };
    this.submit(isAlone);
  }

  protected finishFailed(code: ErrorCode, message: string): void {
    this.#finish(failedOutcome(code, message));
  }

  #onStarted(): void {
    this.#startedAt = performance.now();
    this.#events.onStarted();
  }

  #onLog(log: Log): boolean {
    const line = this.#log.admit(log);
    if (line !== undefined) this.#events.onLog(line);
    return !this.#log.isBeyondAll;
  }

  #onEnded(end: StepEnd, used: KernelFigures | undefined) {
    if (this.#state.phase !== 'placed') return;
    this.#used = used;
    this.#state.ticket?.done();
    switch (end.kind) {
      case 'result':
        this.#toldDropped = end.result.droppedLogLines;
        return this.#finish(readSandboxResult(end.result, this.request.limits.outputBytes), end.result);
      case 'charged':
        if (this.#cancel !== undefined && end.code === 'SANDBOX_CRASHED') return this.#finishCancelled();
        return this.#finishExplained(end.code, end.detail);
      case 'killed-on-cancel':
        return this.#finishCancelled();
      case 'starved':
        return this.#onStarved(end.detail);
      case 'suspect':
      case 'innocent':
        if (this.#cancel !== undefined) return this.#finishCancelled(); // T2
        return this.onLost(end);
      default:
        assertNever(end);
    }
  }

  #onStarved(detail: string): void {
    if (this.#cancel !== undefined)
      this.#finishCancelled(); // T2
    else if (this.#starved === 'never') {
      this.#starved = 'once';
      this.again(false);
    } else {
      this.#starved = 'ended';
      this.#finishExplained('LIMIT_WALL', detail);
    }
  }

  #finishExplained(code: ErrorCode, detail: string): void {
    this.#finish(failedOutcome(code, explainEnd(code, detail, this.request)));
  }

  #finishCancelled(): void {
    this.#finish({ status: 'CANCELLED', message: this.#cancel?.reason ?? 'it was cancelled' });
  }

  #finish(outcome: TierOutcome, result?: Result): void {
    if (this.#state.phase === 'ended') return; // T1
    this.#state = { phase: 'ended' };
    const isStarved = this.#starved === 'ended' ? { isStarved: true } : {};
    this.#settle({ outcome, figures: this.#figures(this.placeFigures(this.#used, result)), ...isStarved });
  }

  #figures(place: PlaceFigures): TierFigures {
    const now = performance.now();
    const assignedAt = this.#assignedAt ?? now;
    const startedAt = this.#startedAt ?? now;
    return {
      ...place,
      cpuMs: place.cpuMs === null ? null : roundMs(place.cpuMs),
      queueMs: roundMs(assignedAt - this.#submittedAt),
      startMs: roundMs(Math.max(0, startedAt - assignedAt)),
      runMs: roundMs(now - startedAt),
      droppedLogLines: this.#log.dropped + this.#toldDropped,
    };
  }
}

function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
