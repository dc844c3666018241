/**
 * The isolate tier: attempts in isolates of jailed workers. Owns one attempt's way through the pool, the second try of
 * a suspect alone, and the words in which an end is told. The workers are worker-process.ts, their choice is
 * worker-pool.ts, their processes are worker-source.ts.
 */
import { assertNever, type ErrorCode } from '@flowops/proto/errors.ts';
import type { Log, Result } from '@flowops/proto/sandbox_pb.js';
import { LogCap } from '../attempts/log-cap.ts';
import { failedOutcome, readSandboxResult, readSandboxUsage, type TierOutcome } from '../attempts/sandbox-result.ts';
import { explainEnd } from '../steps/explain-end.ts';
import type { KernelFigures, StepEnd, StepHandle } from '../steps/step-end.ts';
import type { QueueTicket } from '../steps/turn-queue.ts';
import type { Tier, TierEnd, TierEvents, TierFigures, TierRequest, TierRun } from '../tier.ts';
import type { Confinement } from './worker-body.ts';
import type { IsolateWorker } from './worker-job.ts';
import type { WorkerPool } from './worker-pool.ts';

/** Workers that were ended because of others; after so many it is this machine that has a problem. */
const MAX_FREE_RERUNS = 3;

export interface IsolateTierOptions {
  readonly pool: Pick<WorkerPool, 'submit'>;
  /** "isolated-vm 7.0.1" */
  readonly runtime: string;
  /** Undefined while workers are jailed here, else why not. */
  jailProblem(): string | undefined;
  maxWallMs(): number;
  /** Undefined while workers are no containers. */
  containerRuntime?(): 'runc' | 'runsc' | undefined;
  close(): Promise<void>;
}

export class IsolateTier implements Tier {
  readonly #options: IsolateTierOptions;

  constructor(options: IsolateTierOptions) {
    this.#options = options;
  }

  run(request: TierRequest, events: TierEvents): TierRun {
    const run = new IsolateRun(request, events, this.#options);
    run.submit(false);
    return run;
  }

  /** What its workers run under where they are containers: its holes are theirs. */
  containerRuntime(): 'runc' | 'runsc' | undefined {
    return this.#options.containerRuntime?.();
  }

  close(): Promise<void> {
    return this.#options.close();
  }
}

/** Why a rule that requires a jail cannot run here, and what to change. */
export function jailMissing(rule: string, problem: string): string {
  return (
    `${rule} requires a jailed sandbox, and this machine refuses one (${problem}). Allow user namespaces for the ` +
    'sandbox host, give it Docker with the image of worker containers, or let the rule say `jail: none` if you trust the plugin'
  );
}

type RunState =
  | { readonly phase: 'queued'; readonly ticket: QueueTicket | undefined }
  | { readonly phase: 'in-worker'; readonly ticket: QueueTicket | undefined; readonly handle: StepHandle | undefined }
  | { readonly phase: 'ended' };

class IsolateRun implements TierRun {
  readonly ended: Promise<TierEnd>;
  readonly #settle: (end: TierEnd) => void;
  readonly #request: TierRequest;
  readonly #events: TierEvents;
  readonly #options: IsolateTierOptions;
  readonly #log: LogCap;
  readonly #submittedAt = performance.now();
  #state: RunState = { phase: 'queued', ticket: undefined };
  #cancel: { graceMs: number; reason: string } | undefined;
  #assignedAt: number | undefined;
  #startedAt: number | undefined;
  #confinement: Confinement = { kind: 'none' };
  #freeReruns = 0;
  #wasStarved = false;
  /** It ended so, also the second time. */
  #isStarved = false;
  /** Of its last time in a worker. */
  #used: KernelFigures | undefined;
  #toldDropped = 0;

  constructor(request: TierRequest, events: TierEvents, options: IsolateTierOptions) {
    this.#request = request;
    this.#events = events;
    this.#options = options;
    this.#log = new LogCap(request.limits.logBytes);
    const ended = Promise.withResolvers<TierEnd>();
    this.ended = ended.promise;
    this.#settle = ended.resolve;
  }

  submit(isAlone: boolean): void {
    if (this.#assignedAt !== undefined) this.#events.onRestarted?.();
    const { domain, concurrent, jail } = this.#request;
    const problem = this.#problem();
    if (problem !== undefined) {
      this.#finish(failedOutcome('SANDBOX_UNAVAILABLE', problem));
      return;
    }
    this.#state = { phase: 'queued', ticket: undefined };
    const ticket = this.#options.pool.submit({
      domain,
      concurrent,
      isAlone,
      needsJail: jail === 'required',
      start: (worker) => this.#start(worker),
      refuse: (code, message) => this.#finish(failedOutcome(code, message)),
    });
    this.#keepTicket(ticket);
  }

  /** Why no worker here can run it. */
  #problem(): string | undefined {
    const { jail, rule, limits } = this.#request;
    const missing = jail === 'required' ? this.#options.jailProblem() : undefined;
    if (missing !== undefined) return jailMissing(rule, missing);
    const maxWallMs = this.#options.maxWallMs();
    if (limits.wallMs <= maxWallMs) return undefined;
    return `${rule} gives limits.wallMs ${limits.wallMs}, and no worker container lives that long; write ${maxWallMs} or less`;
  }

  /** The pool may have started, or refused, the job before it gave the ticket. */
  #keepTicket(ticket: QueueTicket): void {
    if (this.#state.phase !== 'ended') this.#state = { ...this.#state, ticket };
  }

  cancel(options: { graceMs: number; reason: string }): void {
    this.#cancel = options;
    const state = this.#state;
    switch (state.phase) {
      case 'queued':
        if (state.ticket?.withdraw()) this.#finish({ status: 'CANCELLED', message: options.reason });
        return;
      case 'in-worker':
        state.handle?.cancel(options);
        return;
      case 'ended':
        return;
      default:
        assertNever(state);
    }
  }

  pause(): void {
    if (this.#state.phase === 'in-worker') this.#state.handle?.pause();
  }

  resume(): void {
    if (this.#state.phase === 'in-worker') this.#state.handle?.resume();
  }

  #start(worker: IsolateWorker): void {
    const ticket = this.#state.phase === 'queued' ? this.#state.ticket : undefined;
    this.#state = { phase: 'in-worker', ticket, handle: undefined };
    this.#assignedAt = performance.now();
    this.#confinement = worker.confinement;
    const handle = worker.run(this.#request, {
      onStarted: () => this.#onStarted(),
      onLog: (log) => this.#onLog(log),
      onProgress: (progress) => this.#events.onProgress(progress),
      onHostCall: (call) => this.#events.onHostCall(call),
      onEnded: (end, used) => this.#onEnded(end, used),
    });
    this.#state = { phase: 'in-worker', ticket, handle };
    if (this.#cancel !== undefined) handle.cancel(this.#cancel);
  }

  #onStarted(): void {
    const isFirst = this.#startedAt === undefined;
    this.#startedAt = performance.now();
    if (isFirst) this.#events.onStarted();
  }

  #onLog(log: Log): boolean {
    const line = this.#log.admit(log);
    if (line !== undefined) this.#events.onLog(line);
    return !this.#log.isBeyondAll;
  }

  #onEnded(end: StepEnd, used: KernelFigures | undefined): void {
    if (this.#state.phase !== 'in-worker') return;
    this.#used = used;
    this.#state.ticket?.done();
    switch (end.kind) {
      case 'result':
        this.#toldDropped = end.result.droppedLogLines;
        this.#finish(readSandboxResult(end.result, this.#request.limits.outputBytes), end.result);
        return;
      case 'charged':
        if (this.#cancel !== undefined && end.code === 'SANDBOX_CRASHED') this.#finishCancelled();
        else this.#finishWith(end.code, end.detail);
        return;
      case 'starved':
        if (this.#cancel !== undefined) this.#finishCancelled();
        else if (this.#wasStarved) this.#finishStarved(end.detail);
        else {
          this.#wasStarved = true;
          this.submit(false);
        }
        return;
      case 'killed-on-cancel':
        this.#finishCancelled();
        return;
      case 'suspect':
        if (this.#cancel !== undefined) this.#finishCancelled();
        else this.submit(true);
        return;
      case 'innocent':
        if (this.#cancel !== undefined) this.#finishCancelled();
        else if (this.#freeReruns++ < MAX_FREE_RERUNS) this.submit(false);
        else this.#finish(failedOutcome('SANDBOX_UNAVAILABLE', `no sandbox stayed alive for the step: ${end.detail}`));
        return;
      default:
        assertNever(end);
    }
  }

  #finishWith(code: ErrorCode, detail: string): void {
    this.#finish(failedOutcome(code, explainEnd(code, detail, this.#request)));
  }

  #finishStarved(detail: string): void {
    this.#isStarved = true;
    this.#finishWith('LIMIT_WALL', detail);
  }

  #finishCancelled(): void {
    this.#finish({ status: 'CANCELLED', message: this.#cancel?.reason ?? 'it was cancelled' });
  }

  #finish(outcome: TierOutcome, result?: Result): void {
    if (this.#state.phase === 'ended') return;
    this.#state = { phase: 'ended' };
    this.#settle({ outcome, figures: this.#figures(result), ...(this.#isStarved ? { isStarved: true } : {}) });
  }

  #figures(result: Result | undefined): TierFigures {
    const now = performance.now();
    const usage = result === undefined ? undefined : readSandboxUsage(result.receiptJson);
    const assignedAt = this.#assignedAt ?? now;
    const startedAt = this.#startedAt ?? now;
    const place = this.#confinement;
    const isContainer = place.kind === 'container';
    return {
      tier: 'isolate',
      jail: place.kind,
      runtime: isContainer ? `${this.#options.runtime} in ${place.runtime}` : this.#options.runtime,
      freshness: this.#request.freshness,
      imageDigest: isContainer ? place.imageId : null,
      queueMs: roundMs(assignedAt - this.#submittedAt),
      startMs: roundMs(Math.max(0, startedAt - assignedAt)),
      runMs: roundMs(now - startedAt),
      cpuMs: roundedOrNull(this.#used?.cpuMs ?? usage?.cpuMs),
      peakMemoryBytes: this.#used?.peakMemoryBytes ?? usage?.heapBytes ?? null,
      sources: { cpuMs: sourceOf(this.#used?.cpuMs), peakMemoryBytes: sourceOf(this.#used?.peakMemoryBytes) },
      droppedLogLines: this.#log.dropped + this.#toldDropped,
    };
  }
}

/** The kernel's figure where there is one; else what the worker said, if it said anything. */
function sourceOf(ofKernel: number | undefined): 'host' | 'worker' {
  return ofKernel === undefined ? 'worker' : 'host';
}

function roundedOrNull(ms: number | undefined): number | null {
  return ms === undefined ? null : roundMs(ms);
}

function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
