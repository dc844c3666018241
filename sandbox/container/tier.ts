/**
 * The container tier: one attempt's way from the policy's terms to a container of its shape and to its end. Owns what an
 * attempt is told when Docker, its image or its runtime is not there, the second try of a starved step, and the words of
 * an end. Containers are step-container.ts, their choice is pool.ts, the daemon is daemon.ts.
 */
import { assertNever, type ErrorCode } from '@flowops/proto/errors.ts';
import type { Log, Result } from '@flowops/proto/sandbox_pb.js';
import { LogCap } from '../attempts/log-cap.ts';
import { failedOutcome, readSandboxResult, type TierOutcome } from '../attempts/sandbox-result.ts';
import { explainEnd } from '../steps/explain-end.ts';
import type { StepEnd } from '../steps/step-end.ts';
import type { QueueTicket } from '../steps/turn-queue.ts';
import type { Tier, TierEnd, TierEvents, TierFigures, TierRequest, TierRun } from '../tier.ts';
import type { DockerDaemon, DockerWorld } from './daemon.ts';
import type { ContainerPool } from './pool.ts';
import type { ServedStep, StepFigures } from './served-step.ts';
import { type KeyedShape, MAX_WALL_MS, shapeOf } from './shape.ts';
import type { StepContainer } from './step-container.ts';

/** Containers that were lost through no fault of the step; after so many the engine's own budget counts. */
const MAX_FREE_RERUNS = 1;
const NO_FIGURES: StepFigures = { cpuMs: null, peakMemoryBytes: null };

export interface ContainerTierOptions {
  readonly daemon: Pick<DockerDaemon, 'peek' | 'ready'>;
  readonly pool: Pick<ContainerPool<KeyedShape, StepContainer>, 'submit'>;
  /** It was used: Docker may be asked now and then from here on. */
  readonly onUse: () => void;
  close(): Promise<void>;
}

export class ContainerTier implements Tier {
  readonly #options: ContainerTierOptions;

  constructor(options: ContainerTierOptions) {
    this.#options = options;
  }

  run(request: TierRequest, events: TierEvents): TierRun {
    this.#options.onUse();
    const run = new ContainerRun(request, events, this.#options);
    void run.submit();
    return run;
  }

  close(): Promise<void> {
    return this.#options.close();
  }
}

type RunState =
  /** Docker, image and runtime are asked for. */
  | { readonly phase: 'preparing'; readonly abort: AbortController }
  | { readonly phase: 'queued'; readonly ticket: QueueTicket | undefined }
  | { readonly phase: 'in-container'; readonly ticket: QueueTicket | undefined; readonly step: ServedStep | undefined }
  | { readonly phase: 'ended' };

class ContainerRun implements TierRun {
  readonly ended: Promise<TierEnd>;
  readonly #settle: (end: TierEnd) => void;
  readonly #request: TierRequest;
  readonly #events: TierEvents;
  readonly #options: ContainerTierOptions;
  readonly #log: LogCap;
  readonly #submittedAt = performance.now();
  #state: RunState = { phase: 'preparing', abort: new AbortController() };
  #cancel: { graceMs: number; reason: string } | undefined;
  #assignedAt: number | undefined;
  #startedAt: number | undefined;
  #imageId: string | null = null;
  #figures: StepFigures = NO_FIGURES;
  #freeReruns = 0;
  #wasStarved = false;
  #toldDropped = 0;

  constructor(request: TierRequest, events: TierEvents, options: ContainerTierOptions) {
    this.#request = request;
    this.#events = events;
    this.#options = options;
    this.#log = new LogCap(request.limits.logBytes);
    const ended = Promise.withResolvers<TierEnd>();
    this.ended = ended.promise;
    this.#settle = ended.resolve;
  }

  async submit(): Promise<void> {
    const abort = new AbortController();
    this.#state = { phase: 'preparing', abort };
    const known = this.#options.daemon.peek();
    if (known !== undefined) return this.#enqueue(known);
    const answer = await this.#options.daemon.ready(abort.signal);
    if (this.#state.phase !== 'preparing' || this.#state.abort !== abort) return;
    if (answer.ok) this.#enqueue(answer.world);
    else this.#unavailable(answer.problem);
  }

  cancel(options: { graceMs: number; reason: string }): void {
    this.#cancel = options;
    const state = this.#state;
    switch (state.phase) {
      case 'preparing':
        this.#finishCancelled();
        state.abort.abort();
        return;
      case 'queued':
        if (state.ticket?.withdraw()) this.#finishCancelled();
        return;
      case 'in-container':
        state.step?.cancel(options);
        return;
      case 'ended':
        return;
      default:
        assertNever(state);
    }
  }

  pause(): void {
    if (this.#state.phase === 'in-container') this.#state.step?.pause();
  }

  resume(): void {
    if (this.#state.phase === 'in-container') this.#state.step?.resume();
  }

  #enqueue({ facts, image }: DockerWorld) {
    const { container, domain, concurrent, limits, rule } = this.#request;
    if (!facts.runtimes.includes(container.runtime)) {
      return this.#unavailable(
        `Docker has no runtime ${container.runtime} (it has ${facts.runtimes.join(', ')}). Install gVisor's runsc and ` +
          `name it under "runtimes" in Docker's daemon.json, or let ${rule} say runtime: runc`,
      );
    }
    if (limits.wallMs > MAX_WALL_MS) return this.#unavailable(`it keeps no step longer than ${MAX_WALL_MS} ms`);
    this.#state = { phase: 'queued', ticket: undefined };
    const ticket = this.#options.pool.submit({
      domain,
      concurrent,
      shape: shapeOf(this.#request, image),
      start: (taken) => this.#start(taken),
      refuse: (_code, message) => this.#unavailable(message),
    });
    this.#keepTicket(ticket);
  }

  /** The pool may have started, or refused, the job before it gave the ticket. */
  #keepTicket(ticket: QueueTicket): void {
    if (this.#state.phase === 'queued' || this.#state.phase === 'in-container') {
      this.#state = { ...this.#state, ticket };
    }
  }

  #start(container: StepContainer): void {
    const ticket = this.#state.phase === 'queued' ? this.#state.ticket : undefined;
    this.#state = { phase: 'in-container', ticket, step: undefined };
    this.#assignedAt = performance.now();
    this.#imageId = container.shape.imageId;
    const { runId, stepId, attempt } = this.#request;
    const step: ServedStep = container.serve(this.#request, `${runId}.${stepId}.${attempt}`, {
      onStarted: () => this.#onStarted(),
      onLog: (log) => this.#onLog(log),
      onProgress: (progress) => this.#events.onProgress(progress),
      onHostCall: (call) => this.#events.onHostCall(call),
      onEnded: (end) => {
        if (this.#state.phase === 'in-container' && this.#state.step !== undefined) {
          this.#figures = this.#state.step.figures;
        }
        this.#onEnded(end);
      },
    });
    if (this.#state.phase !== 'in-container') return;
    this.#state = { ...this.#state, step };
    if (this.#cancel !== undefined) step.cancel(this.#cancel);
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

  #onEnded(end: StepEnd): void {
    if (this.#state.phase !== 'in-container') return;
    this.#state.ticket?.done();
    switch (end.kind) {
      case 'result':
        this.#finishWithResult(end.result);
        return;
      case 'charged':
        if (this.#cancel !== undefined && end.code === 'SANDBOX_CRASHED') this.#finishCancelled();
        else this.#finishWith(end.code, end.detail);
        return;
      case 'killed-on-cancel':
        this.#finishCancelled();
        return;
      case 'starved':
        if (this.#cancel !== undefined) this.#finishCancelled();
        else if (this.#wasStarved) this.#finishWith('LIMIT_WALL', end.detail);
        else {
          this.#wasStarved = true;
          this.#events.onRestarted?.();
          void this.submit();
        }
        return;
      case 'suspect':
      case 'innocent':
        if (this.#cancel !== undefined) this.#finishCancelled();
        else if (this.#startedAt === undefined && this.#freeReruns++ < MAX_FREE_RERUNS) void this.submit();
        else this.#unavailable(`the step's container was lost: ${end.detail}`);
        return;
      default:
        assertNever(end);
    }
  }

  #finishWithResult(result: Result): void {
    this.#toldDropped = result.droppedLogLines;
    this.#finish(readSandboxResult(result, this.#request.limits.outputBytes));
  }

  #finishWith(code: ErrorCode, detail: string): void {
    this.#finish(failedOutcome(code, explainEnd(code, detail, this.#request)));
  }

  #unavailable(problem: string): void {
    const { rule, bundle } = this.#request;
    const message =
      `${rule} sends ${bundle.manifest.name} to the container tier, which cannot take it now: ${problem}. ` +
      '`flowops sandbox doctor` tells more';
    this.#finish(failedOutcome('SANDBOX_UNAVAILABLE', message));
  }

  #finishCancelled(): void {
    this.#finish({ status: 'CANCELLED', message: this.#cancel?.reason ?? 'it was cancelled' });
  }

  #finish(outcome: TierOutcome): void {
    if (this.#state.phase === 'ended') return;
    this.#state = { phase: 'ended' };
    this.#settle({ outcome, figures: this.#receiptFigures() });
  }

  #receiptFigures(): TierFigures {
    const now = performance.now();
    const assignedAt = this.#assignedAt ?? now;
    const startedAt = this.#startedAt ?? now;
    const { cpuMs, peakMemoryBytes } = this.#figures;
    return {
      tier: 'container',
      jail: 'container',
      runtime: this.#request.container.runtime,
      freshness: 'container',
      imageDigest: this.#imageId,
      queueMs: roundMs(assignedAt - this.#submittedAt),
      startMs: roundMs(Math.max(0, startedAt - assignedAt)),
      runMs: roundMs(now - startedAt),
      cpuMs: cpuMs === null ? null : roundMs(cpuMs),
      peakMemoryBytes,
      sources: { cpuMs: 'host', peakMemoryBytes: 'host' },
      droppedLogLines: this.#log.dropped + this.#toldDropped,
    };
  }
}

function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
