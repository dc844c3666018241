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
import { assertNever, messageOf } from '@flowops/proto/errors.ts';
import { runKey } from '@flowops/proto/statuses.ts';
import type { Timer } from '../base/timers.ts';
import { applyEvent, isEmptyDraft } from '../scheduler/decide.ts';
import type { FlowDefinition } from '../scheduler/definition.ts';
import type { RunEvent } from '../scheduler/events.ts';
import { isFinalRun, newRun, type RunState } from '../scheduler/state.ts';
import type { Ownership, RunRef, StateFormat } from '../store/run-store.ts';
import type { ActiveRunOptions } from './active-run-options.ts';
import type { PlaceTaker } from './admission.ts';
import { Backoffs } from './backoffs.ts';
import { carryOut, type EffectTargets } from './carry-out.ts';
import { encodeDraft, encodePlanned, type RunRecord } from './codec.ts';
import { CommandDesk, type DeskWork } from './command-desk.ts';
import { type CommitEnd, Committer, type StoreTrouble } from './committer.ts';
import { FormerAttempts } from './former-attempts.ts';
import { OutboxSender } from './outbox-sender.ts';
import { type Rest, RestWatch, restOf } from './rest.ts';
import { retireRun } from './retire-run.ts';
import { type HeldAttempt, RunAttempts } from './run-attempts.ts';
import type { RunContext } from './run-context.ts';
import { StepInputs } from './step-inputs.ts';
import { StepStarter } from './step-starter.ts';
import { newTurn, type RunMessage, type Turn } from './turn.ts';

/** Messages that one turn takes: what came while a commit was under way, within reason. */
const MAX_MESSAGES_PER_TURN = 256;
/** How long the last acknowledgement waits for a commit to ride on. */
const IDLE_ACK_MS = 500;
const LET_GO = 'the engine let go of the run';

export class ActiveRun implements PlaceTaker {
  readonly ref: RunRef;
  readonly owner: Ownership;
  readonly priority: number;
  readonly #context: RunContext;
  readonly #format: StateFormat;
  readonly #onGone: ActiveRunOptions['onGone'];
  readonly #trouble: StoreTrouble;
  readonly #committer: Committer;
  readonly #sender: OutboxSender;
  readonly #desk: CommandDesk;
  readonly #inputs: StepInputs;
  readonly #attempts: RunAttempts;
  readonly #former: FormerAttempts;
  readonly #starter: StepStarter;
  readonly #backoffs: Backoffs;
  readonly #targets: EffectTargets;
  readonly #restWatch: RestWatch;
  readonly #mailbox: RunMessage[] = [];
  #state: RunState;
  #phase: 'idle' | 'working' | 'retiring' | 'gone' = 'idle';
  /** The commit that made the run final is durable. */
  #isFinished: boolean;
  #mayRetire = false;
  #ackTimer: Timer | undefined;

  constructor(options: ActiveRunOptions) {
    const { ref, owner, state, record, revision, outboxHead, context, trouble } = options;
    this.ref = ref;
    this.owner = owner;
    this.priority = record.priority;
    this.#state = state;
    this.#isFinished = isFinalRun(state);
    this.#context = context;
    this.#onGone = options.onGone;
    this.#format = options.format;
    this.#trouble = trouble;
    const post = (message: RunMessage) => this.post(message);
    const postEvent = (event: RunEvent) => post({ kind: 'event', event });
    this.#committer = new Committer({ run: ref, owner, revision, context, trouble }, options.whole);
    const onSent = () => this.#onAllSent();
    const { publisher } = context;
    this.#sender = new OutboxSender({ run: ref, home: owner.partition, publisher, head: outboxHead, onSent });
    this.#desk = new CommandDesk(ref, record);
    const inputs = new StepInputs(ref, context.store, context);
    this.#inputs = inputs;
    this.#backoffs = new Backoffs(context.timers, (step) => postEvent({ type: 'backoff-over', step }));
    this.#restWatch = new RestWatch(context, () => {
      const rest = this.rest;
      if (rest !== undefined && this.#committer.isProven) options.onRest(rest);
      else if (rest !== undefined) post({ kind: 'verify', onVerified: () => undefined });
    });
    const attempts = new RunAttempts(ref, owner, context, postEvent);
    this.#attempts = attempts;
    this.#former = new FormerAttempts({ run: ref, owner, context, attempts, post });
    const onFinished = () => {
      this.#isFinished = true;
      options.onFinished();
    };
    this.#targets = { attempts, former: this.#former, backoffs: this.#backoffs, post, onFinished };
    const onMore = () => post({ kind: 'look' });
    this.#starter = new StepStarter({ taker: this, context, inputs, attempts, onMore });
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

  /** Whether something is under way that a shutdown should wait for: attempts that end with it, a commit, events to send. */
  get isBusy(): boolean {
    return this.#attempts.hasPrivate || this.#phase !== 'idle' || !this.#sender.isEmpty;
  }

  get #isGone(): boolean {
    return this.#phase === 'gone';
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** The run is to be STOPPED, and the end of an attempt is not proven yet. */
  get isStopUnconfirmed(): boolean {
    const { ending, unproven } = this.#state;
    return ending?.to === 'STOPPED' && (unproven.size > 0 || this.#former.size > 0);
  }

  /** What the run waits for while nothing of it is under way and the store holds all of it; else undefined. */
  get rest(): Rest | undefined {
    if (this.isBusy || this.#isFinished || this.#sender.hasAcknowledgement) return undefined;
    if (this.#attempts.size > 0 || this.#former.size > 0) return undefined;
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
  resumeWork(unsent: readonly string[], notes: readonly string[]): void {
    this.#sender.send(unsent);
    if (this.#isFinished) {
      if (unsent.length === 0) this.#onAllSent();
      return;
    }
    this.#former.takeUp(this.#state, notes);
    for (const [step, state] of this.#state.steps) {
      if (state.status === 'WAITING' && this.#state.status === 'RUNNING') this.#backoffs.arm(step, state.dueMs);
    }
    if (this.#state.ending !== null) this.post({ kind: 'event', event: { type: 'continue' } });
    this.post({ kind: 'look' });
  }

  /** Of a finished run: it need not wait until the store cannot lose its end. */
  retireSoon(): void {
    this.#mayRetire = true;
    if (this.#sender.isEmpty) this.#onAllSent();
  }

  /** Sandbox hosts came or went. */
  hostsChanged(): void {
    this.#former.look();
  }

  /** Somebody told the run's owner something (RunStore.note). */
  noted(text: string): void {
    this.#former.noted(text);
  }

  /** This engine may not act for the run at the moment. */
  standingLost(): void {
    this.#attempts.withdrawPrivate('the engine has lost touch with its group');
  }

  /**
   * Leaves memory without a trace in the store: the engine closes, or another owner has the run.
   * @param taken attempts whose end this run has taken and not committed
   */
  drop(taken: readonly HeldAttempt[] = []): void {
    if (this.#phase === 'gone') return void this.#attempts.letGo(taken, LET_GO);
    this.#phase = 'gone';
    this.#restWatch.end();
    this.#backoffs.disarm();
    this.#former.close();
    if (this.#ackTimer !== undefined) this.#context.timers.cancel(this.#ackTimer);
    this.#context.admission.leave(this);
    this.#starter.returnAll(this.#attempts.size);
    const letGo = this.#attempts.letGo(taken, LET_GO);
    this.#committer.close();
    for (const message of this.#mailbox.splice(0)) this.#refuse(message);
    this.#onGone(letGo);
  }

  #refuse(message: RunMessage): void {
    if (message.kind === 'place') this.#context.admission.release();
    if (message.kind === 'command') message.command.abandon();
    if (message.kind === 'found') message.attempt.leave();
    if (message.kind === 'verify') message.onVerified?.();
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
    this.#restWatch.begin(this.rest, this.#committer);
  }

  async #turn(): Promise<void> {
    const nowMs = this.#context.clock.nowMs();
    const turn = newTurn(nowMs);
    for (const message of this.#mailbox.splice(0, MAX_MESSAGES_PER_TURN)) this.#take(message, turn);
    if (!turn.isDisplaced) await this.#starter.startReady(this.#state, turn.draft, nowMs);
    this.#starter.returnUnused(this.#state);
    if (turn.draft.effects.some((effect) => effect.type === 'quiescent')) this.#desk.quiescent(nowMs);
    const isCommitted = await this.#commit(turn);
    for (const tell of turn.onVerified) tell();
    if (!isCommitted) return;
    for (const held of turn.ended) this.#attempts.settle(held);
    for (const effect of turn.draft.effects) carryOut(effect, this.#state, this.#targets);
  }

  #take(message: RunMessage, turn: Turn): void {
    switch (message.kind) {
      case 'event':
        this.#takeEvent(message.event, turn);
        return;
      case 'place':
        this.#starter.gainPlace();
        return;
      case 'found':
        this.#adopt(message, turn);
        return;
      case 'displaced':
        turn.isDisplaced = true;
        return;
      case 'verify':
        turn.mustCommit = true;
        if (message.onVerified !== undefined) turn.onVerified.push(message.onVerified);
        return;
      case 'look':
        return;
      case 'acknowledge':
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
      const held = this.#attempts.takeEnded(event.step, event.token);
      if (held !== undefined) {
        this.#context.admission.release();
        turn.ended.push(held);
      }
    }
    if (event.type === 'reject' && this.#state.status === 'QUEUED') this.#desk.rejected(event, turn.nowMs);
    applyEvent(this.#state, event, turn.nowMs, turn.draft);
  }

  /** The flow of the queued run was checked: its empty definition is replaced, and it begins. */
  #begin(definition: FlowDefinition, turn: Turn): void {
    if (this.#state.status !== 'QUEUED') return;
    this.#state = newRun(this.ref, definition);
    turn.definition = definition;
    applyEvent(this.#state, { type: 'begin' }, turn.nowMs, turn.draft);
    const pause = this.#desk.begun(turn.nowMs);
    if (pause !== undefined) applyEvent(this.#state, pause, turn.nowMs, turn.draft);
  }

  /** An attempt of a former owner goes on under this one; one that is not wanted any more is ended. */
  #adopt(found: RunMessage & { kind: 'found' }, turn: Turn): void {
    const { step, token, attempt } = found;
    const state = this.#state.steps.get(step);
    if (state?.status !== 'RUNNING' || state.token !== token) {
      attempt.leave();
      return;
    }
    this.#attempts.adopt(this.#state, step, found);
    if (this.#state.ending === null) return;
    turn.draft.effects.push({ type: 'cancel-attempt', step, token, reason: 'the run is ending' });
  }

  /** @returns whether the turn's effects may be carried out. */
  async #commit(turn: Turn): Promise<boolean> {
    const { draft, definition } = turn;
    const desk = this.#desk.takeWork();
    if (this.#isGone || turn.isDisplaced) return this.#giveUp(turn, desk, turn.isDisplaced ? 'fenced' : 'closed');
    if (isEmptyDraft(draft) && desk.isEmpty && !turn.mustCommit) {
      desk.settle();
      return true;
    }
    const changes = encodeDraft(this.#state, draft, { epoch: this.owner.epoch, format: this.#format });
    const entries = [...desk.entries, ...(changes.events ?? [])];
    const acknowledged = this.#sender.takeAcknowledgement();
    const end = await this.#committer.commit({
      ...changes,
      meta: { ...changes.meta, ...desk.meta },
      ...(entries.length > 0 ? { events: entries } : {}),
      ...(acknowledged === undefined ? {} : { acknowledged }),
      ...(definition === undefined ? {} : { definition: encodePlanned(definition) }),
    });
    // When the run left memory meanwhile, the next owner finds what was committed, and does what follows from it.
    if (end !== 'committed' || this.#isGone) return this.#giveUp(turn, desk, end);
    desk.settle();
    this.#inputs.remember(draft.outputs);
    this.#sender.send(entries);
    return true;
  }

  #giveUp(turn: Turn, desk: DeskWork, end: CommitEnd): false {
    this.#attempts.forgetPrepared(() => this.#context.admission.release());
    desk.abandon();
    this.drop(turn.ended);
    if (end === 'fenced') this.#trouble.fenced(this.owner);
    return false;
  }

  /** Everything durable was sent: a finished run is retired; another tells the store once it is idle. */
  #onAllSent(): void {
    if (this.#phase === 'gone' || this.#phase === 'retiring') return;
    const nowMs = this.#context.clock.nowMs();
    if (this.#isFinished) {
      if (this.#phase !== 'idle') return;
      // Until then only this run could write its end again, should the store lose it.
      const dueMs = this.#committer.durableAtMs;
      if (this.#mayRetire || dueMs <= nowMs) void this.#retire();
      else this.#wake(dueMs, () => this.#onAllSent());
    } else {
      this.#wake(nowMs + IDLE_ACK_MS, () => this.post({ kind: 'acknowledge' }));
    }
  }

  /** One timer for what comes when nothing else does. */
  #wake(dueMs: number, fire: () => void): void {
    this.#ackTimer ??= this.#context.timers.arm(dueMs, () => {
      this.#ackTimer = undefined;
      fire();
    });
  }

  async #retire(): Promise<void> {
    this.#phase = 'retiring';
    const { ref, owner } = this;
    const parts = { committer: this.#committer, sender: this.#sender, context: this.#context };
    const end = await retireRun({ ref, owner, ...parts });
    if (end !== 'lost-end') {
      this.drop();
      if (end === 'fenced') this.#trouble.fenced(owner);
      return;
    }
    this.#phase = 'idle';
    if (this.#mailbox.length > 0) this.post({ kind: 'look' });
    else this.#onAllSent();
  }
}
