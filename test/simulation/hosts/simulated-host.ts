/**
 * A sandbox host as design 5.4 has it: attempts by token, the highest epoch seen of each run, results kept until they are
 * acknowledged, and a lease for each caller that runs from the last question the caller answered. When its process ends,
 * the code it ran ends with it.
 */
import type { AttachResult, AttemptOutcome, AttemptRequest } from '@flowops/proto/attempt.ts';
import { Epochs } from '../../../sandbox/attempts/epochs.ts';
import type { SimProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';
import type { Link } from './link.ts';
import { type CodeEnd, type CodeWitness, type Kind, outputOf, RunningCode, WALL_MS } from './plugin-code.ts';

/** What a host tells its caller. */
export interface CallerEnd {
  hello(told: { instance: string; maxAttempts: number; leaseMs: number; endedInstances: readonly string[] }): void;
  started(token: string, wallMs: number): void;
  result(token: string, outcome: AttemptOutcome): void;
  attachReply(token: string, state: Exclude<AttachResult['state'], 'lost'>): void;
  /** Whether the caller lives; `answer` is its Pong. */
  ping(load: number, answer: () => void): void;
}

interface Caller {
  readonly link: Link;
  readonly end: CallerEnd;
  /** Its attempts may go on without it until then. */
  leaseEndsMs: number;
}

interface HostedAttempt {
  readonly token: string;
  readonly request: AttemptRequest;
  caller: Caller | undefined;
  leaseEndsMs: number;
  state:
    | { readonly name: 'queued' }
    | { readonly name: 'running'; readonly code: RunningCode }
    | { readonly name: 'ended'; readonly outcome: AttemptOutcome };
  isCancelled: boolean;
}

export const LEASE_MS = 15_000;
const QUESTIONS_PER_LEASE = 5;
/** The kill at the end of a wall limit or a lease has no grace. */
const NO_GRACE_MS = 0;

export interface SimulatedHostOptions {
  readonly process: SimProcess;
  readonly instance: string;
  readonly maxAttempts: number;
  readonly witness: CodeWitness;
  readonly kindOf: (pluginId: string) => Kind;
  /** Former instances of its home whose processes have ended. */
  readonly endedInstances: readonly string[];
  /** Chance that an attempt ends by a fault of the host's own before any code runs. */
  readonly faultChance: number;
}

export class SimulatedHost {
  readonly instance: string;
  readonly process: SimProcess;
  readonly #options: SimulatedHostOptions;
  readonly #world: World;
  readonly #attempts = new Map<string, HostedAttempt>();
  readonly #epochs = new Epochs();
  readonly #callers = new Set<Caller>();

  constructor(options: SimulatedHostOptions) {
    this.#options = options;
    this.instance = options.instance;
    this.process = options.process;
    this.#world = options.process.world;
    options.process.onDeath(() => this.#vanish());
  }

  /** How many attempts are queued or run. */
  get load(): number {
    let load = 0;
    for (const { state } of this.#attempts.values()) if (state.name !== 'ended') load++;
    return load;
  }

  /** The attempt's code runs, or its result waits to be acknowledged. */
  stateOf(token: string): 'queued' | 'running' | 'ended' | undefined {
    return this.#attempts.get(token)?.state.name;
  }

  accept(link: Link, end: CallerEnd): HostFront {
    const caller: Caller = { link, end, leaseEndsMs: this.#world.nowMs + LEASE_MS };
    this.#callers.add(caller);
    link.onClosed(1, () => this.#abandon(caller));
    const { instance, maxAttempts, endedInstances } = this.#options;
    link.send(1, () => end.hello({ instance, maxAttempts, leaseMs: LEASE_MS, endedInstances }));
    this.#question(caller);
    return {
      invoke: (request) => this.#invoke(caller, request),
      attach: (token, run, epoch) => this.#attach(caller, token, run, epoch),
      cancel: (token, epoch, graceMs) => this.#cancel(token, epoch, graceMs),
      acknowledge: (token) => this.#acknowledge(token),
      leave: (token) => this.#leave(caller, token),
    };
  }

  #question(caller: Caller): void {
    if (!this.#callers.has(caller)) return;
    const askedMs = this.#world.nowMs;
    const answer = () => {
      caller.leaseEndsMs = Math.max(caller.leaseEndsMs, askedMs + LEASE_MS);
    };
    caller.link.send(1, () => caller.end.ping(this.load, () => caller.link.send(0, answer)));
    this.process.after(LEASE_MS / QUESTIONS_PER_LEASE, () => {
      if (!this.#callers.has(caller)) return;
      if (caller.leaseEndsMs > this.#world.nowMs) return this.#question(caller);
      this.#world.tell(this.instance, 'the lease of a caller is over');
      caller.link.close(1, 'the lease is over');
      this.#abandon(caller);
    });
  }

  #abandon(caller: Caller): void {
    if (!this.#callers.delete(caller)) return;
    for (const attempt of this.#attempts.values())
      if (attempt.caller === caller) this.#orphan(attempt, caller.leaseEndsMs);
  }

  #orphan(attempt: HostedAttempt, leaseEndsMs: number): void {
    attempt.caller = undefined;
    attempt.leaseEndsMs = leaseEndsMs;
    this.process.after(leaseEndsMs - this.#world.nowMs, () => {
      if (attempt.caller !== undefined || attempt.leaseEndsMs !== leaseEndsMs) return;
      this.#stop(attempt, NO_GRACE_MS);
    });
  }

  #invoke(caller: Caller, request: AttemptRequest): void {
    const { token } = request;
    if (this.#attempts.has(token)) return;
    const state = { name: 'queued' } as const;
    const attempt: HostedAttempt = { token, request, caller, leaseEndsMs: 0, state, isCancelled: false };
    this.#attempts.set(token, attempt);
    if (!this.#epochs.admit(request.flowId, request.runId, BigInt(request.epoch))) {
      this.#end(attempt, refusal(`run ${request.runId} has a newer owner`));
      return;
    }
    const { chance } = this.#world;
    this.process.after(chance.happens(0.1) ? chance.ms(0, 1_500) : chance.ms(0, 3), () => {
      if (attempt.state.name !== 'queued') return;
      if (chance.happens(this.#options.faultChance)) {
        this.#options.witness.refused(`${request.flowId}:${request.runId}`, request.stepId);
        this.#end(attempt, refusal('the sandbox host has no room'));
      } else this.#begin(attempt);
    });
  }

  #begin(attempt: HostedAttempt): void {
    const { request, token } = attempt;
    const { witness, kindOf } = this.#options;
    const identity = {
      run: `${request.flowId}:${request.runId}`,
      stepId: request.stepId,
      attempt: request.attempt,
      epoch: request.epoch,
      token,
      host: this.instance,
      kind: kindOf(request.pluginId),
      input: readInput(request.inputsJson),
    };
    const code = new RunningCode(this.#world, identity, witness, (end) => {
      this.process.enter(() => this.#end(attempt, outcomeOf(end, identity.stepId, identity.input)));
    });
    attempt.state = { name: 'running', code };
    const { caller } = attempt;
    caller?.link.send(1, () => caller.end.started(token, WALL_MS));
    if (identity.kind === 'killer') this.process.after(this.#world.chance.ms(1, 50), () => this.process.kill());
  }

  #attach(caller: Caller, token: string, run: { flowId: string; runId: string }, epoch: number): void {
    const reply = (state: Exclude<AttachResult['state'], 'lost'>) => {
      caller.link.send(1, () => caller.end.attachReply(token, state));
    };
    const isAdmitted = this.#epochs.admit(run.flowId, run.runId, BigInt(epoch));
    const attempt = this.#attempts.get(token);
    if (!isAdmitted || attempt === undefined) {
      reply(isAdmitted ? 'unknown' : 'refused');
      return;
    }
    attempt.caller = caller;
    const { state } = attempt;
    reply(state.name === 'ended' ? 'ended' : 'running');
    if (state.name === 'ended') caller.link.send(1, () => caller.end.result(token, state.outcome));
    else if (state.name === 'running') caller.link.send(1, () => caller.end.started(token, WALL_MS));
  }

  #cancel(token: string, epoch: number, graceMs: number): void {
    const attempt = this.#attempts.get(token);
    if (attempt === undefined) return;
    const { flowId, runId } = attempt.request;
    if (!this.#epochs.admit(flowId, runId, BigInt(epoch))) return;
    this.#stop(attempt, graceMs);
  }

  #stop(attempt: HostedAttempt, graceMs: number): void {
    attempt.isCancelled = true;
    if (attempt.state.name === 'running') attempt.state.code.stop(graceMs);
    else if (attempt.state.name === 'queued') {
      this.#end(attempt, { status: 'CANCELLED', message: 'cancelled before it began', receipt: null });
    }
  }

  #acknowledge(token: string): void {
    if (this.#attempts.get(token)?.state.name === 'ended') this.#attempts.delete(token);
  }

  #leave(caller: Caller, token: string): void {
    const attempt = this.#attempts.get(token);
    if (attempt?.caller === caller) this.#orphan(attempt, caller.leaseEndsMs);
  }

  #end(attempt: HostedAttempt, outcome: AttemptOutcome): void {
    if (attempt.state.name === 'ended') return;
    attempt.state = { name: 'ended', outcome };
    const { caller, token } = attempt;
    caller?.link.send(1, () => caller.end.result(token, outcome));
  }

  #vanish(): void {
    this.#callers.clear();
    for (const { state, request } of this.#attempts.values()) {
      if (state.name === 'running') state.code.vanish();
      if (state.name === 'queued') this.#options.witness.refused(`${request.flowId}:${request.runId}`, request.stepId);
    }
    this.#attempts.clear();
  }
}

/** What a caller can ask, as it arrives at the host. */
export interface HostFront {
  invoke(request: AttemptRequest): void;
  attach(token: string, run: { flowId: string; runId: string }, epoch: number): void;
  cancel(token: string, epoch: number, graceMs: number): void;
  acknowledge(token: string): void;
  leave(token: string): void;
}

function refusal(message: string): AttemptOutcome {
  const code = 'SANDBOX_UNAVAILABLE' as const;
  return { status: 'FAILED', code, message, receipt: null, stack: '', retryable: true, retryAfterMs: 0 };
}

function outcomeOf(end: CodeEnd, stepId: string, input: string): AttemptOutcome {
  const failed = { status: 'FAILED', receipt: null, stack: '', retryAfterMs: 0 } as const;
  switch (end) {
    case 'completed':
      return { status: 'COMPLETED', outputsJson: JSON.stringify({ text: outputOf(stepId, input) }), receipt: null };
    case 'failed':
      return { ...failed, code: 'PLUGIN_ERROR', message: 'the plugin failed', retryable: true };
    case 'wall':
      return { ...failed, code: 'LIMIT_WALL', message: 'the step took too long', retryable: false };
    case 'stopped':
    case 'host-ended':
      return { status: 'CANCELLED', message: 'it was stopped', receipt: null };
  }
}

function readInput(inputsJson: string): string {
  const parsed: unknown = JSON.parse(inputsJson);
  const isObject = typeof parsed === 'object' && parsed !== null && 'text' in parsed;
  return isObject ? String(parsed.text) : '';
}
