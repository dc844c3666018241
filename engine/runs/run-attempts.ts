/**
 * The attempts of one run that are with a sandbox host. An attempt is prepared (host, inputs, the signature as it is
 * now: the digest is pinned, who vouches for it is not) before the commit that starts it and handed to the host after; its end comes back as an event.
 */
import type { Attempt, AttemptListener, AttemptRequest, SandboxHost } from '@flowops/proto/attempt.ts';
import type { PinnedPlugin, PlannedStep } from '../scheduler/definition.ts';
import type { Effect, RunEvent } from '../scheduler/events.ts';
import type { RunState } from '../scheduler/state.ts';
import type { Ownership, RunRef } from '../store/run-store.ts';
import { readAttemptEnd } from './attempt-results.ts';
import type { RunContext } from './run-context.ts';

export interface PreparedAttempt {
  readonly host: SandboxHost;
  readonly inputsJson: string;
  /** Text of the .sig file; undefined = unsigned. */
  readonly signature: string | undefined;
}

export class RunAttempts {
  readonly #run: RunRef;
  readonly #owner: Ownership;
  readonly #context: RunContext;
  readonly #onEnd: (event: RunEvent) => void;
  readonly #prepared = new Map<number, PreparedAttempt>();
  readonly #attempts = new Map<number, { token: string; attempt: Attempt }>();

  constructor(run: RunRef, owner: Ownership, context: RunContext, onEnd: (event: RunEvent) => void) {
    this.#run = run;
    this.#owner = owner;
    this.#context = context;
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#attempts.size;
  }

  async prepare(state: RunState, step: number, given: Pick<PreparedAttempt, 'host' | 'inputsJson'>): Promise<void> {
    const plugin = pluginOf(state, step);
    const signature = plugin === undefined ? undefined : await this.#context.plugins.signature(plugin);
    this.#prepared.set(step, { ...given, signature });
  }

  /** The commit that would have started them was not made. */
  forgetPrepared(onEach: () => void): void {
    for (const _ of this.#prepared.keys()) onEach();
    this.#prepared.clear();
  }

  /** Hands a prepared attempt to its host. */
  start(state: RunState, effect: Effect & { type: 'start-attempt' }): void {
    const { step, token } = effect;
    const prepared = this.#prepared.get(step);
    this.#prepared.delete(step);
    const planned = state.definition.steps[step];
    const plugin = pluginOf(state, step);
    if (prepared === undefined || planned === undefined || plugin === undefined) {
      throw new Error(`step ${step} was not prepared`);
    }
    const request = this.#request(planned, plugin, prepared, effect);
    const attempt = prepared.host.run(request, this.#listenTo(planned.stepId));
    this.#attempts.set(step, { token, attempt });
    void attempt.outcome.then((outcome) => {
      const receipt = 'receipt' in outcome && outcome.receipt !== null ? { receipt: outcome.receipt } : {};
      const end = readAttemptEnd(outcome, plugin);
      this.#onEnd({ type: 'attempt-ended', step, token, end, ...receipt });
    });
  }

  /** The attempt has ended and its place is free: gives it once, to be acknowledged after the commit. */
  takeEnded(step: number, token: string): Attempt | undefined {
    const known = this.#attempts.get(step);
    if (known?.token !== token) return undefined;
    this.#attempts.delete(step);
    return known.attempt;
  }

  cancel(step: number, reason: string): void {
    this.#attempts.get(step)?.attempt.cancel({ graceMs: this.#context.stopGraceMs, reason });
  }

  /** Ends every attempt at its host at once. */
  cancelAll(reason: string): void {
    for (const { attempt } of this.#attempts.values()) attempt.cancel({ graceMs: 0, reason });
  }

  pause(): void {
    for (const { attempt } of this.#attempts.values()) attempt.pause();
  }

  resume(): void {
    for (const { attempt } of this.#attempts.values()) attempt.resume();
  }

  #request(
    planned: PlannedStep,
    plugin: PinnedPlugin,
    prepared: PreparedAttempt,
    start: { attempt: number; token: string },
  ): AttemptRequest {
    const { plugins, signal } = this.#context;
    const { pluginId, version, digest } = plugin;
    return {
      token: start.token,
      purpose: 'run',
      flowId: this.#run.flowId,
      runId: this.#run.runId,
      stepId: planned.stepId,
      attempt: start.attempt,
      epoch: this.#owner.epoch,
      pluginId,
      pluginVersion: version,
      digest,
      ...(prepared.signature === undefined ? {} : { signature: prepared.signature }),
      inputsJson: prepared.inputsJson,
      idempotencyKey: `${this.#run.flowId}/${this.#run.runId}/${planned.stepId}`,
      ...(planned.timeoutMs === undefined ? {} : { requestedWallMs: planned.timeoutMs }),
      bundle: () => plugins.bundle({ pluginId, version, digest }, signal),
    };
  }

  #listenTo(stepId: string): AttemptListener {
    const { onStepLog, onStepProgress } = this.#context;
    return {
      onLog: (line) => onStepLog(this.#run, stepId, line),
      onProgress: (progress) => onStepProgress(this.#run, stepId, progress),
    };
  }
}

function pluginOf({ definition }: RunState, step: number): PinnedPlugin | undefined {
  const planned = definition.steps[step];
  return planned === undefined ? undefined : definition.plugins[planned.plugin];
}
