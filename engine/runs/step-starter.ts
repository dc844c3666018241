/**
 * Starts the ready steps of a run as far as there are places for them (admission.ts), and holds the places that were
 * given to the run until it uses them or gives them back.
 */
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import { applyEvent, type Draft } from '../scheduler/decide.ts';
import type { RunState } from '../scheduler/state.ts';
import type { PlaceTaker } from './admission.ts';
import { isSuspect } from './quarantine.ts';
import type { RunAttempts } from './run-attempts.ts';
import type { RunContext } from './run-context.ts';
import type { StepInputs } from './step-inputs.ts';

/** Steps that one turn starts; the rest start in the next, so that a commit stays small. */
const MAX_STARTS_PER_TURN = 100;

export interface StepStarterOptions {
  /** In whose name places are taken. */
  readonly taker: PlaceTaker;
  readonly context: RunContext;
  readonly inputs: StepInputs;
  readonly attempts: RunAttempts;
  /** There is more to start than one turn may, or a suspect may start now: `startReady` again. */
  readonly onMore: () => void;
}

export class StepStarter {
  readonly #options: StepStarterOptions;
  #heldPlaces = 0;

  constructor(options: StepStarterOptions) {
    this.#options = options;
  }

  /** A place that the run waited for. */
  gainPlace(): void {
    this.#heldPlaces++;
  }

  async startReady(state: RunState, draft: Draft, nowMs: number): Promise<void> {
    const { context, onMore } = this.#options;
    let left = MAX_STARTS_PER_TURN;
    for (const step of state.ready) {
      if (state.status !== 'RUNNING' || state.ending !== null) return;
      if (isSuspect(state.steps.get(step)) && !context.quarantine.isFree(onMore)) continue;
      if (left-- === 0) return onMore();
      const host = this.#takePlace();
      if (host === undefined) return;
      await this.#start(state, step, { host, draft, nowMs });
    }
  }

  /** After `startReady`: what was not used goes to others. */
  returnUnused(state: RunState): void {
    this.returnAll();
    if (state.ready.size === 0 || state.status !== 'RUNNING') {
      this.#options.context.admission.leave(this.#options.taker);
    }
  }

  /** @param more places of attempts that the run lets go of */
  returnAll(more = 0): void {
    const count = this.#heldPlaces + more;
    this.#heldPlaces = 0;
    for (let left = count; left > 0; left--) this.#options.context.admission.release();
  }

  async #start(
    state: RunState,
    step: number,
    { host, draft, nowMs }: { host: SandboxHost; draft: Draft; nowMs: number },
  ): Promise<void> {
    const { context, inputs, attempts } = this.#options;
    const token = context.newToken();
    if (isSuspect(state.steps.get(step))) context.quarantine.enter({ token, host: host.instance });
    const resolved = await inputs.of(state, step, draft.outputs);
    if (resolved.ok) {
      await attempts.prepare(state, step, { token, host, inputsJson: resolved.json });
      applyEvent(state, { type: 'start-step', step, token, host: host.instance }, nowMs, draft);
      return;
    }
    context.quarantine.leave(token);
    context.admission.release();
    const refusal = { type: 'refuse-step', step, code: 'INPUT_INVALID', message: resolved.problem } as const;
    applyEvent(state, refusal, nowMs, draft);
  }

  /** The host that a place was taken at; undefined when the run has to wait for one (`givePlace`). */
  #takePlace(): SandboxHost | undefined {
    const { admission } = this.#options.context;
    if (this.#heldPlaces > 0) {
      const host = this.#pick();
      if (host !== undefined) {
        this.#heldPlaces--;
        return host;
      }
    }
    if (!admission.take(this.#options.taker)) return undefined;
    const host = this.#pick();
    if (host === undefined) admission.release();
    return host;
  }

  #pick(): SandboxHost | undefined {
    const { sandboxes, standing } = this.#options.context;
    return standing.isGood ? sandboxes.pick() : undefined;
  }
}
