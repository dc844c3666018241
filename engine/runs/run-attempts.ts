/**
 * The attempts of one run that are with a sandbox host. An attempt is prepared (host, inputs, the signature as it is
 * now: the digest is pinned, who vouches for it is not) before the commit that starts it and handed to the host after; its
 * end comes back as an event. One that a former owner started is adopted.
 *
 * When the run gets another owner, attempts on shared hosts are left to it; those on hosts that only this engine
 * reaches are ended, and their end is noted for it once it is proven (design 5.4).
 */
import type { Attempt, AttemptListener, AttemptOutcome, AttemptRequest, SandboxHost } from '@flowops/proto/attempt.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import type { PinnedPlugin, PlannedStep } from '../scheduler/definition.ts';
import type { AttemptEnd, Effect, RunEvent } from '../scheduler/events.ts';
import type { RunState } from '../scheduler/state.ts';
import type { Ownership, RunRef } from '../store/run-store.ts';
import { endedNote } from './attempt-notes.ts';
import { readAttemptEnd } from './attempt-results.ts';
import type { RunContext } from './run-context.ts';

export interface PreparedAttempt {
  readonly token: string;
  readonly host: SandboxHost;
  readonly inputsJson: string;
  /** Text of the .sig file; undefined = unsigned. */
  readonly signature: string | undefined;
}

/** An attempt whose place is taken, until its end is durable. */
export interface HeldAttempt {
  readonly step: number;
  readonly token: string;
  readonly host: SandboxHost;
  /** Absent when it never came to its host. */
  readonly attempt?: Attempt;
  /** Of a result that came and is not committed. */
  heldBytes: number;
  /** Ended because this engine may not act any more: that is no fault of anybody. */
  isWithdrawn: boolean;
}

export class RunAttempts {
  readonly #run: RunRef;
  readonly #owner: Ownership;
  readonly #context: RunContext;
  readonly #onEnd: (event: RunEvent) => void;
  readonly #prepared = new Map<number, PreparedAttempt>();
  /** By step: with a host, or ended and not taken into a turn. */
  readonly #held = new Map<number, HeldAttempt>();

  constructor(run: RunRef, owner: Ownership, context: RunContext, onEnd: (event: RunEvent) => void) {
    this.#run = run;
    this.#owner = owner;
    this.#context = context;
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Whether one of them ends when this engine goes. */
  get hasPrivate(): boolean {
    for (const { host } of this.#held.values()) if (!host.isShared) return true;
    return false;
  }

  async prepare(state: RunState, step: number, given: Omit<PreparedAttempt, 'signature'>): Promise<void> {
    const plugin = pluginOf(state, step);
    const signature = plugin === undefined ? undefined : await this.#context.plugins.signature(plugin);
    this.#prepared.set(step, { ...given, signature });
  }

  /** The commit that would have started them was not made. */
  forgetPrepared(onEach: () => void): void {
    for (const { token } of this.#prepared.values()) {
      this.#context.quarantine.leave(token);
      onEach();
    }
    this.#prepared.clear();
  }

  /** Hands a prepared attempt to its host, unless this engine lost its standing meanwhile. */
  start(state: RunState, effect: Effect & { type: 'start-attempt' }): void {
    const { step, token } = effect;
    const prepared = this.#prepared.get(step);
    this.#prepared.delete(step);
    const planned = state.definition.steps[step];
    const plugin = pluginOf(state, step);
    if (prepared === undefined || planned === undefined || plugin === undefined) {
      throw new Error(`step ${step} was not prepared`);
    }
    const held = { step, token, host: prepared.host, heldBytes: 0, isWithdrawn: false };
    if (!this.#context.standing.isGood) {
      this.#held.set(step, held);
      this.#onEnd({ type: 'attempt-ended', step, token, end: { kind: 'orphaned' } });
      return;
    }
    const request = this.#request(planned, plugin, prepared, effect);
    const attempt = prepared.host.run(request, this.listenerOf(planned.stepId));
    this.#follow({ ...held, attempt }, attempt, { plugin, stepId: planned.stepId });
  }

  /** Takes over an attempt that a former owner started. */
  adopt(state: RunState, step: number, found: { token: string; host: SandboxHost; attempt: Attempt }): void {
    const plugin = pluginOf(state, step);
    const stepId = state.definition.steps[step]?.stepId;
    if (plugin === undefined || stepId === undefined) throw new Error(`step ${step} has no plugin`);
    this.#context.admission.occupy();
    this.#follow({ step, ...found, heldBytes: 0, isWithdrawn: false }, found.attempt, { plugin, stepId });
  }

  /** What the attempt's step says and tells on its way. */
  listenerOf(stepId: string): AttemptListener {
    const { onStepLog, onStepProgress } = this.#context;
    return {
      onLog: (line) => onStepLog(this.#run, stepId, line),
      onProgress: (progress) => onStepProgress(this.#run, stepId, progress),
    };
  }

  /** The attempt has ended and its place is free: gives it once, for `settle` after the commit or `letGo` without one. */
  takeEnded(step: number, token: string): HeldAttempt | undefined {
    const held = this.#held.get(step);
    if (held?.token !== token) return undefined;
    this.#held.delete(step);
    this.#context.quarantine.leave(token);
    return held;
  }

  /** Its end is durable. */
  settle(held: HeldAttempt): void {
    this.#context.resultBytes.release(held.heldBytes);
    held.attempt?.acknowledge();
    if (held.isWithdrawn) void this.#note(held.token);
  }

  cancel(step: number, reason: string): void {
    this.#held.get(step)?.attempt?.cancel({ graceMs: this.#context.stopGraceMs, reason });
  }

  /** This engine may not act any more: what only it could end is ended at once, to be run again by whoever may. */
  withdrawPrivate(reason: string): void {
    for (const held of this.#held.values()) {
      if (held.host.isShared || held.attempt === undefined || held.isWithdrawn) continue;
      held.isWithdrawn = true;
      held.attempt.cancel({ graceMs: 0, reason });
    }
  }

  pause(): void {
    for (const { attempt } of this.#held.values()) attempt?.pause();
  }

  resume(): void {
    for (const { attempt } of this.#held.values()) attempt?.resume();
  }

  /**
   * The run has another owner, or will have. Resolves, never rejects, when that of each attempt which only this engine
   * could end is proven and noted.
   * @param taken attempts taken out by `takeEnded` whose commit was not made
   */
  async letGo(taken: readonly HeldAttempt[], reason: string): Promise<void> {
    const all = [...taken, ...this.#held.values()];
    this.#held.clear();
    await Promise.all(all.map((held) => this.#letGoOf(held, reason)));
  }

  async #letGoOf({ token, host, attempt, heldBytes }: HeldAttempt, reason: string): Promise<void> {
    this.#context.quarantine.leave(token);
    this.#context.resultBytes.release(heldBytes);
    if (attempt === undefined) return this.#note(token);
    if (host.isShared) return attempt.leave();
    attempt.cancel({ graceMs: 0, reason });
    const outcome = await attempt.outcome;
    attempt.acknowledge();
    if (isProven(outcome)) await this.#note(token);
  }

  /** Best effort: a new owner that hears nothing waits for the lease. */
  async #note(token: string): Promise<void> {
    const { store, signal, log } = this.#context;
    if (signal.aborted) return;
    try {
      await store.note(this.#run, this.#owner.partition, endedNote(token));
    } catch (thrown) {
      if (!signal.aborted) log.debug({ ...this.#run }, `an end could not be noted: ${messageOf(thrown)}`);
    }
  }

  #follow(held: HeldAttempt, attempt: Attempt, { plugin, stepId }: { plugin: PinnedPlugin; stepId: string }): void {
    const { step, token } = held;
    this.#held.set(step, held);
    void attempt.outcome.then((outcome) => {
      if (this.#held.get(step) !== held) return; // let go of
      if (outcome.status === 'FAILED') this.#context.onStepFailed?.(this.#run, stepId, { plugin, ...outcome });
      const receipt = 'receipt' in outcome && outcome.receipt !== null ? { receipt: outcome.receipt } : {};
      this.#onEnd({ type: 'attempt-ended', step, token, end: this.#endOf(held, outcome, plugin), ...receipt });
    });
  }

  #endOf(held: HeldAttempt, outcome: AttemptOutcome, plugin: PinnedPlugin): AttemptEnd {
    const { quarantine, resultBytes } = this.#context;
    if (held.isWithdrawn && outcome.status !== 'COMPLETED' && isProven(outcome)) return { kind: 'orphaned' };
    if (outcome.status === 'COMPLETED') {
      const bytes = outcome.outputsJson.length;
      if (!resultBytes.take(bytes)) {
        const message = `its result (${bytes} bytes) had no room beside the ${resultBytes.bytes} bytes of results that wait for the store`;
        return { kind: 'failed', code: 'SANDBOX_UNAVAILABLE', message, isRetryable: true };
      }
      held.heldBytes = bytes;
    }
    if (outcome.status === 'LOST' && outcome.hostEnded) {
      const crash = quarantine.blame({ token: held.token, host: held.host.instance });
      return { kind: 'lost', message: outcome.message, aliveForMs: outcome.aliveForMs, crash };
    }
    return readAttemptEnd(outcome, plugin);
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
}

/** Nothing of the attempt runs any more. */
function isProven(outcome: AttemptOutcome): boolean {
  return outcome.status !== 'LOST' || outcome.aliveForMs === 0;
}

function pluginOf({ definition }: RunState, step: number): PinnedPlugin | undefined {
  const planned = definition.steps[step];
  return planned === undefined ? undefined : definition.plugins[planned.plugin];
}
