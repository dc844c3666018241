/**
 * One run in memory: the only writer of its state (G2). Messages (commands, results, places, timers) are taken in
 * turns; a turn applies what has come to the core, commits once, and only then acts: tells, starts, cancels.
 *
 * Invariants:
 *   R1. Nothing is told, answered or started before the commit that says so is acknowledged (G3).
 *   R2. Turns never overlap, and a turn commits at most once.
 *   R3. A run that was fenced off does nothing more, in silence.
 *   R4. Every place taken from admission is given back exactly once.
 */
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import { assertNever, messageOf } from '@flowops/proto/errors.ts';
import { runKey } from '@flowops/proto/statuses.ts';
import { applyEvent, isEmptyDraft, newDraft } from '../scheduler/decide.ts';
import type { FlowDefinition } from '../scheduler/definition.ts';
import type { Effect, RunEvent } from '../scheduler/events.ts';
import { isFinalRun, newRun, type RunState } from '../scheduler/state.ts';
import type { Ownership, RunRef } from '../store/run-store.ts';
import type { PlaceTaker } from './admission.ts';
import { Backoffs } from './backoffs.ts';
import { encodeDraft, encodePlanned, type RunRecord } from './codec.ts';
import { CommandDesk } from './command-desk.ts';
import { Committer } from './committer.ts';
import { OutboxSender } from './outbox-sender.ts';
import { type Rest, RestWatch, restOf } from './rest.ts';
import { RunAttempts } from './run-attempts.ts';
import type { RunContext } from './run-context.ts';
import { StepInputs } from './step-inputs.ts';
import type { Timer } from './timers.ts';
import type { RunMessage, Turn } from './turn.ts';
import { untilAvailable } from './until-available.ts';

/** Messages that one turn takes: what came while a commit was under way, within reason. */
const MAX_MESSAGES_PER_TURN = 256;
/** Steps that one turn starts; the rest start in the next, so that a commit stays small. */
const MAX_STARTS_PER_TURN = 100;
/** How long the last acknowledgement waits for a commit to ride on. */
const IDLE_ACK_MS = 500;

export interface ActiveRunOptions {
  readonly ref: RunRef;
  readonly owner: Ownership;
  readonly state: RunState;
  readonly record: RunRecord;
  /** Of the store's copy. */
  readonly revision: number;
  /** Position of the first entry in the store's outbox, or of the next to come. */
  readonly outboxHead: number;
  readonly context: RunContext;
  /** The run left memory: it is retired, or another owner has it. */
  readonly onGone: (run: ActiveRun) => void;
  /** The run has rested for a while, and the store holds all of it: it may be dropped. */
  readonly onRest: (run: ActiveRun, rest: Rest) => void;
}

export class ActiveRun implements PlaceTaker {
  readonly ref: RunRef;
  readonly owner: Ownership;
  readonly priority: number;
  readonly #context: RunContext;
  readonly #onGone: (run: ActiveRun) => void;
  readonly #committer: Committer;
  readonly #sender: OutboxSender;
  readonly #desk: CommandDesk;
  readonly #inputs: StepInputs;
  readonly #attempts: RunAttempts;
  readonly #backoffs: Backoffs;
  readonly #restWatch: RestWatch;
  readonly #mailbox: RunMessage[] = [];
  #state: RunState;
  #phase: 'idle' | 'working' | 'retiring' | 'gone' = 'idle';
  /** The commit that made the run final is durable. */
  #isFinished: boolean;
  #heldPlaces = 0;
  #ackTimer: Timer | undefined;

  constructor(options: ActiveRunOptions) {
    const { ref, owner, state, record, revision, outboxHead, context } = options;
    this.ref = ref;
    this.owner = owner;
    this.priority = record.priority;
    this.#state = state;
    this.#isFinished = isFinalRun(state);
    this.#context = context;
    this.#onGone = options.onGone;
    const { store, publisher, log, clock } = context;
    this.#committer = new Committer({ run: ref, epoch: owner.epoch, revision, store, log, clock, waiting: context });
    this.#sender = new OutboxSender(ref, publisher, outboxHead, () => this.#onAllSent());
    this.#desk = new CommandDesk(ref, record);
    this.#inputs = new StepInputs(ref, store, context);
    this.#backoffs = new Backoffs(context.timers, (step) => {
      this.post({ kind: 'event', event: { type: 'backoff-over', step } });
    });
    this.#restWatch = new RestWatch(context, () => {
      const rest = this.rest;
      if (rest !== undefined) options.onRest(this, rest);
    });
    this.#attempts = new RunAttempts(ref, owner, context, (event) => this.post({ kind: 'event', event }));
  }

  get key(): string {
    return runKey(this.ref);
  }

  get record(): RunRecord {
    return this.#desk.record;
  }

  /** For showing; nobody else may change it. */
  get state(): Readonly<RunState> {
    return this.#state;
  }

  /** Whether something is under way that a shutdown should wait for: attempts, a commit, events to send. */
  get isBusy(): boolean {
    return this.#attempts.size > 0 || this.#phase !== 'idle' || !this.#sender.isEmpty;
  }

  /** What the run waits for while nothing of it is under way and the store holds all of it; else undefined. */
  get rest(): Rest | undefined {
    if (this.isBusy || this.#isFinished || this.#sender.hasAcknowledgement) return undefined;
    return restOf(this.#state);
  }

  /** Hands in a message. Never blocks, never throws. */
  post(message: RunMessage): void {
    if (this.#phase === 'gone') {
      this.#refuse(message);
      return;
    }
    this.#mailbox.push(message);
    this.#restWatch.end();
    if (this.#phase !== 'idle') return;
    this.#phase = 'working';
    queueMicrotask(() => void this.#work());
  }

  givePlace(): void {
    this.post({ kind: 'place' });
  }

  /** Takes up a run that was loaded from the store: sends what it held unsent, goes on where it stood. */
  resumeWork(unsent: readonly string[]): void {
    this.#sender.send(unsent);
    if (this.#isFinished) {
      if (unsent.length === 0) this.#onAllSent();
      return;
    }
    for (const step of this.#state.running) {
      const state = this.#state.steps.get(step);
      if (state?.status !== 'RUNNING') continue;
      const event = { type: 'attempt-ended', step, token: state.token, end: { kind: 'orphaned' } } as const;
      this.post({ kind: 'event', event });
    }
    for (const [step, state] of this.#state.steps) {
      if (state.status === 'WAITING' && this.#state.status === 'RUNNING') this.#backoffs.arm(step, state.dueMs);
    }
    if (this.#state.ending !== null) this.post({ kind: 'event', event: { type: 'continue' } });
    this.post({ kind: 'look' });
  }

  /** Leaves memory without a trace in the store: the engine closes, or another owner has the run. */
  drop(): void {
    if (this.#phase === 'gone') return;
    this.#phase = 'gone';
    this.#restWatch.end();
    this.#backoffs.disarm();
    if (this.#ackTimer !== undefined) this.#context.timers.cancel(this.#ackTimer);
    this.#context.admission.leave(this);
    this.#returnPlaces(this.#heldPlaces + this.#attempts.size);
    this.#attempts.cancelAll('the engine let go of the run');
    this.#desk.abandon();
    for (const message of this.#mailbox.splice(0)) this.#refuse(message);
    this.#onGone(this);
  }

  #refuse(message: RunMessage): void {
    if (message.kind === 'place') this.#context.admission.release();
    if (message.kind === 'command') message.command.abandon();
  }

  async #work(): Promise<void> {
    try {
      while (this.#mailbox.length > 0 && this.#phase === 'working') await this.#turn();
    } catch (thrown) {
      if (this.#phase === 'gone' || this.#context.signal.aborted) return this.drop();
      // A bug of ours: the run stays as it is in the store, and a restart takes it up again.
      this.#context.log.error({ ...this.ref, err: thrown }, `the run cannot go on: ${messageOf(thrown)}`);
      return this.drop();
    }
    if (this.#phase !== 'working') return;
    this.#phase = 'idle';
    if (this.#isFinished && this.#sender.isEmpty) this.#onAllSent();
    this.#restWatch.begin(this.rest);
  }

  async #turn(): Promise<void> {
    const nowMs = this.#context.clock.nowMs();
    const turn: Turn = { draft: newDraft(), nowMs, definition: undefined, ended: [], mustCommit: false };
    for (const message of this.#mailbox.splice(0, MAX_MESSAGES_PER_TURN)) this.#take(message, turn);
    await this.#startReady(turn);
    this.#returnUnusedPlaces();
    if (turn.draft.effects.some((effect) => effect.type === 'quiescent')) this.#desk.quiescent(nowMs);
    if (!(await this.#commit(turn))) return;
    for (const attempt of turn.ended) attempt.acknowledge();
    for (const effect of turn.draft.effects) this.#carryOut(effect);
  }

  #take(message: RunMessage, turn: Turn): void {
    switch (message.kind) {
      case 'event':
        this.#takeEvent(message.event, turn);
        return;
      case 'place':
        this.#heldPlaces++;
        return;
      case 'look':
        return;
      case 'acknowledge':
        this.#ackTimer = undefined;
        turn.mustCommit ||= this.#sender.hasAcknowledgement;
        return;
      case 'planned':
        this.#begin(message.definition, turn);
        return;
      case 'command': {
        const event = this.#desk.judge(message.command, this.#state, turn.nowMs);
        if (event !== undefined) applyEvent(this.#state, event, turn.nowMs, turn.draft);
        return;
      }
      default:
        assertNever(message);
    }
  }

  #takeEvent(event: RunEvent, turn: Turn): void {
    if (event.type === 'attempt-ended') {
      const attempt = this.#attempts.takeEnded(event.step, event.token);
      if (attempt !== undefined) {
        this.#context.admission.release();
        turn.ended.push(attempt);
      }
    }
    if (event.type === 'reject' && this.#state.status === 'QUEUED') this.#desk.rejected(event, this.#state, turn.nowMs);
    applyEvent(this.#state, event, turn.nowMs, turn.draft);
  }

  /** The flow of the queued run was checked: its empty definition is replaced, and it begins. */
  #begin(definition: FlowDefinition, turn: Turn): void {
    if (this.#state.status !== 'QUEUED') return;
    this.#state = newRun(this.ref, definition);
    turn.definition = definition;
    applyEvent(this.#state, { type: 'begin' }, turn.nowMs, turn.draft);
    for (const event of this.#desk.begun(this.#state, turn.nowMs)) {
      applyEvent(this.#state, event, turn.nowMs, turn.draft);
    }
  }

  async #startReady(turn: Turn): Promise<void> {
    const state = this.#state;
    let left = MAX_STARTS_PER_TURN;
    for (const step of state.ready) {
      if (state.status !== 'RUNNING' || state.ending !== null) return;
      if (left-- === 0) {
        this.#mailbox.push({ kind: 'look' });
        return;
      }
      const host = this.#takePlace();
      if (host === undefined) return;
      const inputs = await this.#inputs.of(state, step, turn.draft.outputs);
      if (inputs.ok) {
        const token = this.#context.newToken();
        await this.#attempts.prepare(state, step, { host, inputsJson: inputs.json });
        applyEvent(state, { type: 'start-step', step, token, host: host.instance }, turn.nowMs, turn.draft);
      } else {
        this.#context.admission.release();
        const refusal = { type: 'refuse-step', step, code: 'INPUT_INVALID', message: inputs.problem } as const;
        applyEvent(state, refusal, turn.nowMs, turn.draft);
      }
    }
  }

  /** The host that a place was taken at; undefined when the run has to wait for one (`givePlace`). */
  #takePlace(): SandboxHost | undefined {
    const { admission, sandboxes } = this.#context;
    const host = sandboxes.pick();
    if (host !== undefined && this.#heldPlaces > 0) {
      this.#heldPlaces--;
      return host;
    }
    if (!admission.take(this)) return undefined;
    if (host === undefined) admission.release();
    return host;
  }

  #returnUnusedPlaces(): void {
    this.#returnPlaces(this.#heldPlaces);
    const { state } = this;
    if (state.ready.size === 0 || state.status !== 'RUNNING') this.#context.admission.leave(this);
  }

  #returnPlaces(count: number): void {
    this.#heldPlaces = 0;
    for (let left = count; left > 0; left--) this.#context.admission.release();
  }

  /** @returns whether the turn's effects may be carried out. */
  async #commit(turn: Turn): Promise<boolean> {
    const { draft, definition } = turn;
    const desk = this.#desk.takeWork();
    if (isEmptyDraft(draft) && desk.isEmpty && !turn.mustCommit) {
      desk.settle();
      return true;
    }
    const changes = encodeDraft(this.#state, draft, this.owner.epoch);
    const entries = [...desk.entries, ...(changes.events ?? [])];
    const acknowledged = this.#sender.takeAcknowledgement();
    const end = await this.#committer.commit({
      ...changes,
      meta: { ...changes.meta, ...desk.meta },
      ...(entries.length > 0 ? { events: entries } : {}),
      ...(acknowledged === undefined ? {} : { acknowledged }),
      ...(definition === undefined ? {} : { definition: encodePlanned(definition) }),
    });
    if (end !== 'committed') {
      this.#attempts.forgetPrepared(() => this.#context.admission.release());
      desk.abandon();
      this.drop();
      return false;
    }
    desk.settle();
    this.#inputs.remember(draft.outputs);
    this.#sender.send(entries);
    return true;
  }

  #carryOut(effect: Effect): void {
    switch (effect.type) {
      case 'start-attempt':
        this.#attempts.start(this.#state, effect);
        return;
      case 'cancel-attempt':
        this.#attempts.cancel(effect.step, effect.reason);
        return;
      case 'pause-attempts':
        this.#attempts.pause();
        return;
      case 'resume-attempts':
        this.#attempts.resume();
        return;
      case 'arm-backoff':
        this.#backoffs.arm(effect.step, effect.dueMs);
        return;
      case 'disarm-backoffs':
        this.#backoffs.disarm();
        return;
      case 'continue':
        this.post({ kind: 'event', event: { type: 'continue' } });
        return;
      case 'finished':
        this.#isFinished = true;
        return;
      case 'quiescent':
        return;
      default:
        assertNever(effect);
    }
  }

  /** Everything durable was sent: a finished run is retired; another tells the store once it is idle. */
  #onAllSent(): void {
    if (this.#phase === 'gone' || this.#phase === 'retiring') return;
    if (this.#isFinished) {
      if (this.#phase === 'idle') void this.#retire();
    } else if (this.#ackTimer === undefined) {
      const dueMs = this.#context.clock.nowMs() + IDLE_ACK_MS;
      this.#ackTimer = this.#context.timers.arm(dueMs, () => this.post({ kind: 'acknowledge' }));
    }
  }

  /** Everything of the finished run was told: the store may forget it in time. */
  async #retire(): Promise<void> {
    this.#phase = 'retiring';
    const { store, retentionMs, signal, log } = this.#context;
    try {
      const acknowledged = this.#sender.takeAcknowledgement();
      if (acknowledged !== undefined && (await this.#committer.commit({ acknowledged })) !== 'committed')
        return this.drop();
      await untilAvailable(() => store.retire(this.ref, this.owner, retentionMs), this.#context);
    } catch (thrown) {
      if (!signal.aborted) log.error({ ...this.ref, err: thrown }, 'a finished run could not be retired');
    }
    this.drop();
  }
}
