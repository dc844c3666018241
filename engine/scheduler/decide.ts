/**
 * The deterministic core: applies one event to a run at a given time and writes what changed into a draft: status
 * events to tell, steps and outputs to store, effects to carry out once the draft is committed. No clock, randomness,
 * I/O or log. An event that does not fit the state (late, twice, foreign token) changes nothing.
 *
 * Invariants:
 *   C1. A step that is final never changes again (G4).
 *   C2. The final flow event is the last one told, and only after every step is final; STOPPED also only after the end
 *       of every attempt is proven (G5).
 *   C3. Sequence numbers are consecutive over all drafts of a run (G3).
 *   C4. An event costs O(degree of its step); endings go in slices of MAX_STEPS_PER_COMMIT.
 */
import { assertNever, type ErrorCode } from '@flowops/proto/errors.ts';
import type { StatusEvent } from '@flowops/proto/statuses.ts';
import type { AttemptEnd, Effect, RunEvent } from './events.ts';
import { afterFault, type Fault } from './retry.ts';
import { findReady, isFinalRun, isFinalStep, lowerWait, type RunState, type StepState } from './state.ts';
import { flowEvent, stepEvent, type ToldOfStep, type ToldStepStatus } from './status-events.ts';

/** Steps that one commit may touch when a run ends (design 4.2). */
export const MAX_STEPS_PER_COMMIT = 500;
/** All outputs of a run together, bytes of JSON (design 4.2). */
export const MAX_RUN_OUTPUT_BYTES = 64 * 1024 * 1024;

/** What one or more events changed, for one commit. */
export interface Draft {
  /** Indexes of the steps whose record changed. */
  readonly changedSteps: Set<number>;
  /** `stepId.outputKey` → JSON text. */
  readonly outputs: Map<string, string>;
  readonly events: StatusEvent[];
  readonly effects: Effect[];
  /** Whether anything of the run's own fields changed. */
  hasRunChanges: boolean;
}

export function newDraft(): Draft {
  return { changedSteps: new Set(), outputs: new Map(), events: [], effects: [], hasRunChanges: false };
}

export function isEmptyDraft(draft: Draft): boolean {
  return draft.changedSteps.size === 0 && draft.events.length === 0 && !draft.hasRunChanges;
}

/** Applies an event. @param nowMs the store's clock, epoch ms. */
export function applyEvent(run: RunState, event: RunEvent, nowMs: number, draft: Draft): void {
  if (isFinalRun(run)) return;
  const turn = new Turn(run, nowMs, draft);
  switch (event.type) {
    case 'begin':
      turn.begin();
      break;
    case 'reject':
      turn.reject(event.code, event.message);
      break;
    case 'start-step':
      turn.startStep(event.step, event.token, event.host);
      break;
    case 'refuse-step':
      turn.refuseStep(event.step, event.code, event.message);
      break;
    case 'attempt-ended':
      turn.attemptEnded(event.step, event.token, event.end, event.receipt);
      break;
    case 'end-proven':
      turn.endProven(event.token);
      break;
    case 'backoff-over':
      turn.backoffOver(event.step);
      break;
    case 'pause':
      turn.pause();
      break;
    case 'resume':
      turn.resume();
      break;
    case 'stop':
      turn.end({ to: 'STOPPED', error: null, code: null });
      break;
    case 'continue':
      turn.continueEnding();
      break;
    default:
      assertNever(event);
  }
}

class Turn {
  readonly #run: RunState;
  readonly #nowMs: number;
  readonly #draft: Draft;

  constructor(run: RunState, nowMs: number, draft: Draft) {
    this.#run = run;
    this.#nowMs = nowMs;
    this.#draft = draft;
  }

  begin(): void {
    const run = this.#run;
    if (run.status !== 'QUEUED' || run.ending !== null) return;
    this.#setStatus('RUNNING');
    findReady(run);
  }

  reject(code: ErrorCode, message: string): void {
    const run = this.#run;
    if (run.status !== 'QUEUED') return;
    run.error = message;
    run.code = code;
    this.#setStatus('FAILED');
    this.#draft.effects.push({ type: 'finished' });
  }

  startStep(step: number, token: string, host: string): void {
    const run = this.#run;
    if (run.status !== 'RUNNING' || run.ending !== null || !run.ready.delete(step)) return;
    const before = run.steps.get(step);
    const attempt = (before?.attempt ?? 0) + 1;
    const { faults, crashes } = before?.status === 'WAITING' ? before : { faults: 0, crashes: 0 };
    run.running.add(step);
    this.#setStep(step, { status: 'RUNNING', attempt, faults, crashes, token, host, startedAtMs: this.#nowMs });
    this.#tellStep(step, 'RUNNING', { attempt });
    this.#draft.effects.push({ type: 'start-attempt', step, attempt, token });
  }

  refuseStep(step: number, code: ErrorCode, message: string): void {
    const run = this.#run;
    if (run.ending !== null || !run.ready.delete(step)) return;
    this.#failStep(step, run.steps.get(step)?.attempt ?? 0, { code, message });
  }

  attemptEnded(step: number, token: string, end: AttemptEnd, receipt: unknown): void {
    const run = this.#run;
    const state = run.steps.get(step);
    if (state?.status !== 'RUNNING' || state.token !== token) return;
    run.running.delete(step);
    if (end.kind === 'lost' && end.aliveForMs > 0) this.#noteUnproven(state, end.aliveForMs);
    const told = { attempt: state.attempt, ...(receipt === undefined ? {} : { receipt }) };
    const judged = end.kind === 'completed' ? this.#withinOutputLimit(step, end) : end;
    if (judged.kind === 'completed') this.#completeStep(step, state, judged.outputs, told);
    else if (run.ending !== null) this.#finishStep(step, 'CANCELLED', told);
    else this.#attemptDidNotComplete(step, state, judged, told);
    this.#settle();
  }

  endProven(token: string): void {
    if (!this.#run.unproven.delete(token)) return;
    this.#draft.hasRunChanges = true;
    this.#settle();
  }

  backoffOver(step: number): void {
    const run = this.#run;
    const state = run.steps.get(step);
    if (state?.status !== 'WAITING' || run.status !== 'RUNNING' || run.ending !== null) return;
    if (state.dueMs <= this.#nowMs) run.ready.add(step);
    else this.#draft.effects.push({ type: 'arm-backoff', step, dueMs: state.dueMs });
  }

  pause(): void {
    const run = this.#run;
    if (run.ending !== null || run.status !== 'RUNNING') return;
    this.#setStatus('PAUSED');
    run.isQuiescent = false;
    for (const [step, state] of this.#waiting()) {
      run.ready.delete(step);
      this.#setStep(step, { ...state, dueMs: Math.max(0, state.dueMs - this.#nowMs) });
    }
    this.#draft.effects.push({ type: 'pause-attempts' }, { type: 'disarm-backoffs' });
    this.#settle();
  }

  resume(): void {
    const run = this.#run;
    if (run.ending !== null || run.status !== 'PAUSED') return;
    this.#setStatus('RUNNING');
    run.isQuiescent = false;
    for (const [step, state] of this.#waiting()) {
      const dueMs = this.#nowMs + state.dueMs;
      this.#setStep(step, { ...state, dueMs });
      this.#draft.effects.push({ type: 'arm-backoff', step, dueMs });
    }
    this.#draft.effects.push({ type: 'resume-attempts' });
  }

  /** Ends the run early. A stop of a run that is failing makes it STOPPED; nothing unmakes a stop. */
  end(ending: NonNullable<RunState['ending']>): void {
    const run = this.#run;
    if (run.ending !== null) {
      if (ending.to === 'STOPPED' && run.ending.to !== 'STOPPED') {
        run.ending = ending;
        this.#draft.hasRunChanges = true;
      }
      return;
    }
    run.ending = ending;
    run.ready.clear();
    this.#draft.hasRunChanges = true;
    const reason = ending.to === 'STOPPED' ? 'the run was stopped' : 'another step of the run failed';
    for (const step of run.running) {
      const state = run.steps.get(step);
      if (state?.status === 'RUNNING') {
        this.#draft.effects.push({ type: 'cancel-attempt', step, token: state.token, reason });
      }
    }
    this.#draft.effects.push({ type: 'disarm-backoffs' });
    this.continueEnding();
  }

  /** Cancels the next slice of steps that do not run. */
  continueEnding(): void {
    const run = this.#run;
    if (run.ending === null) return;
    let left = MAX_STEPS_PER_COMMIT;
    while (run.cancelCursor < run.graph.size) {
      const step = run.cancelCursor;
      const state = run.steps.get(step);
      if (state === undefined || state.status === 'WAITING') {
        if (left-- === 0) {
          this.#draft.effects.push({ type: 'continue' });
          return;
        }
        this.#finishStep(step, 'CANCELLED', state === undefined ? {} : { attempt: state.attempt });
      }
      run.cancelCursor++;
    }
    this.#settle();
  }

  #withinOutputLimit(step: number, end: AttemptEnd & { kind: 'completed' }): AttemptEnd {
    const run = this.#run;
    let bytes = 0;
    for (const [, json] of end.outputs) bytes += Buffer.byteLength(json);
    if (run.outputBytes + bytes > MAX_RUN_OUTPUT_BYTES) {
      const stepId = run.graph.stepIds[step];
      const message = `the outputs of ${stepId} (${bytes} bytes) would take the run's outputs over ${MAX_RUN_OUTPUT_BYTES} bytes`;
      return { kind: 'failed', code: 'OUTPUT_INVALID', message, isRetryable: false };
    }
    run.outputBytes += bytes;
    return end;
  }

  #completeStep(
    step: number,
    state: StepState & { status: 'RUNNING' },
    outputs: readonly (readonly [string, string])[],
    told: { attempt: number; receipt?: unknown },
  ): void {
    const run = this.#run;
    const { attempt, startedAtMs } = state;
    this.#setStep(step, { status: 'COMPLETED', attempt, startedAtMs, endedAtMs: this.#nowMs });
    for (const [key, json] of outputs) this.#draft.outputs.set(`${run.graph.stepIds[step]}.${key}`, json);
    run.unfinished--;
    this.#draft.hasRunChanges = true;
    this.#tellStep(step, 'COMPLETED', told);
    for (const dependent of run.graph.dependents[step] ?? []) {
      if (lowerWait(run, dependent) === 0 && run.ending === null) run.ready.add(dependent);
    }
  }

  #attemptDidNotComplete(
    step: number,
    state: StepState & { status: 'RUNNING' },
    end: Exclude<AttemptEnd, { kind: 'completed' }>,
    told: { attempt: number; receipt?: unknown },
  ): void {
    switch (end.kind) {
      case 'failed':
        if (isFaultOfOurs(end)) this.#afterFault(step, state, { code: end.code, reason: end.message }, told);
        else this.#failStep(step, state.attempt, end, told);
        return;
      case 'lost':
        this.#afterFault(step, state, { code: 'SANDBOX_UNAVAILABLE', reason: end.message, crash: end.crash }, told);
        return;
      case 'orphaned':
        this.#wait(step, state, { ...state, dueMs: this.#dueAfter(0), reason: 'owner changed' });
        if (this.#run.status === 'RUNNING') this.#run.ready.add(step);
        return;
      case 'cancelled':
        this.#afterFault(step, state, CANCELLED_BY_HOST, told);
        return;
      default:
        assertNever(end);
    }
  }

  #afterFault(
    step: number,
    state: StepState & { status: 'RUNNING' },
    fault: Fault,
    told: { attempt: number; receipt?: unknown },
  ): void {
    const next = afterFault(state, fault);
    if (next.kind === 'fail') {
      this.#failStep(step, state.attempt, next, told);
      return;
    }
    const dueMs = this.#dueAfter(next.backoffMs);
    this.#wait(step, state, { ...next, dueMs, reason: fault.reason });
    if (this.#run.status === 'RUNNING') this.#draft.effects.push({ type: 'arm-backoff', step, dueMs });
  }

  #wait(
    step: number,
    { attempt }: StepState & { status: 'RUNNING' },
    { faults, crashes, dueMs, reason }: Omit<StepState & { status: 'WAITING' }, 'status' | 'attempt'>,
  ): void {
    this.#setStep(step, { status: 'WAITING', attempt, faults, crashes, dueMs, reason });
  }

  #noteUnproven({ token, host }: StepState & { status: 'RUNNING' }, aliveForMs: number): void {
    const untilMs = this.#nowMs + aliveForMs;
    this.#run.unproven.set(token, { host, untilMs });
    this.#draft.hasRunChanges = true;
    this.#draft.effects.push({ type: 'seek-proof', token, host, untilMs });
  }

  /** When a backoff ends; while the run is paused, what is left of it. */
  #dueAfter(ms: number): number {
    return this.#run.status === 'PAUSED' ? ms : this.#nowMs + ms;
  }

  #failStep(
    step: number,
    attempt: number,
    failure: { code: ErrorCode; message: string },
    told: { attempt?: number; receipt?: unknown } = attempt === 0 ? {} : { attempt },
  ): void {
    const run = this.#run;
    const { code, message } = failure;
    this.#setStep(step, { status: 'FAILED', attempt, code, error: message, endedAtMs: this.#nowMs });
    run.unfinished--;
    this.#tellStep(step, 'FAILED', { ...told, error: message, code });
    this.end({ to: 'FAILED', error: `step ${run.graph.stepIds[step]} failed: ${message}`, code });
  }

  #finishStep(step: number, status: 'CANCELLED' | 'SKIPPED', told: { attempt?: number; receipt?: unknown }): void {
    const run = this.#run;
    this.#setStep(step, { status, attempt: told.attempt ?? 0, endedAtMs: this.#nowMs });
    run.unfinished--;
    this.#tellStep(step, status, told);
  }

  /** What follows when no step runs any more: the run's end, or a pause that became quiet. */
  #settle(): void {
    const run = this.#run;
    if (run.running.size > 0 || isFinalRun(run)) return;
    if (run.unfinished === 0) {
      if (run.ending?.to === 'STOPPED' && run.unproven.size > 0) return;
      run.error = run.ending?.error ?? null;
      run.code = run.ending?.code ?? null;
      this.#setStatus(run.ending?.to ?? 'COMPLETED');
      this.#draft.effects.push({ type: 'finished' });
    } else if (run.status === 'PAUSED' && run.ending === null && !run.isQuiescent && run.unproven.size === 0) {
      run.isQuiescent = true;
      this.#draft.hasRunChanges = true;
      this.#draft.effects.push({ type: 'quiescent' });
    }
  }

  *#waiting(): Generator<[number, StepState & { status: 'WAITING' }]> {
    for (const [step, state] of this.#run.steps) if (state.status === 'WAITING') yield [step, state];
  }

  #setStep(step: number, state: StepState): void {
    const before = this.#run.steps.get(step);
    if (before !== undefined && isFinalStep(before)) throw new Error(`step ${step} is final and would change (C1)`);
    this.#run.steps.set(step, state);
    this.#draft.changedSteps.add(step);
  }

  #setStatus(status: Exclude<RunState['status'], 'QUEUED'>): void {
    const run = this.#run;
    run.status = status;
    run.sequence++;
    this.#draft.hasRunChanges = true;
    this.#draft.events.push(flowEvent(run, status, this.#nowMs));
  }

  #tellStep(step: number, status: ToldStepStatus, told: ToldOfStep): void {
    this.#run.sequence++;
    this.#draft.events.push(stepEvent(this.#run, step, { status, told, nowMs: this.#nowMs }));
  }
}

/** Nobody asked for it in this run's life: the host drained or an operator ended it. */
const CANCELLED_BY_HOST: Fault = {
  code: 'SANDBOX_UNAVAILABLE',
  reason: 'the sandbox host cancelled the attempt',
};

/** A fault of ours that another try may not meet again: it spends the infrastructure's budget, not the user's (G9). */
function isFaultOfOurs(end: AttemptEnd & { kind: 'failed' }): boolean {
  return end.isRetryable && (end.code === 'SANDBOX_UNAVAILABLE' || end.code === 'PROTOCOL_ERROR');
}
