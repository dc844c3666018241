/**
 * Answers the commands to one run (design 4.3): judges each against the run's state, remembers every answer by partition
 * and offset (a redelivery has no effect and gets the same outcome again), and collects the outcomes that the next
 * commit stores. A command is answered only when that commit is durable. To a run that has ended nothing is written any
 * more: its answer is the same for ever.
 */
import type { CommandKind } from '@flowops/proto/commands.ts';
import { assertNever, type ErrorCode } from '@flowops/proto/errors.ts';
import type { CommandOrigin } from '../commands/command-sink.ts';
import type { RunEvent } from '../scheduler/events.ts';
import { isFinalRun, type RunState } from '../scheduler/state.ts';
import type { RunRef } from '../store/run-store.ts';
import { appliedBefore, withApplied, withStartAnswer } from './applied-commands.ts';
import type { CommandContext, RunRecord } from './codec.ts';
import { encodeRecord } from './codec.ts';
import { ACCEPTED, type CommandAnswer, duplicate, outcomeEvent, rejected } from './outcomes.ts';

export interface RunCommand {
  readonly kind: Exclude<CommandKind, 'START'>;
  readonly context: CommandContext;
  /** Absent for commands that did not come from Kafka: those are never redelivered. */
  readonly origin?: CommandOrigin;
  /** Called once, when the answer is durable. `isTold`: its outcome is in the outbox already. */
  answer(answer: CommandAnswer, isTold: boolean): void;
  /** The run left memory before the command had an effect: it has to be given again. */
  abandon(): void;
}

/** What the desk adds to a commit. */
export interface DeskWork {
  readonly entries: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly isEmpty: boolean;
  /** Call when the commit is durable. */
  readonly settle: () => void;
  /** Call when the commit cannot be made. */
  readonly abandon: () => void;
}

export class CommandDesk {
  readonly #run: RunRef;
  #record: RunRecord;
  #entries: string[] = [];
  #meta: Record<string, string> = {};
  #answers: { command: RunCommand; answer: CommandAnswer; isTold: boolean }[] = [];

  constructor(run: RunRef, record: RunRecord) {
    this.#run = run;
    this.#record = record;
  }

  get record(): RunRecord {
    return this.#record;
  }

  /** The event that the command means, or undefined when it changes nothing of the core's. */
  judge(command: RunCommand, state: RunState, nowMs: number): RunEvent | undefined {
    const { kind, context } = command;
    const before = appliedBefore(this.#record.commands, command.origin);
    const answer = before ?? judgeCommand(kind, state, this.#record);
    if (before !== undefined || isFinalRun(state)) {
      this.#answers.push({ command, answer, isTold: false });
      return undefined;
    }
    this.#remember(command.origin, kind, answer);
    this.#tell(kind, answer, context, nowMs);
    this.#answers.push({ command, answer, isTold: true });
    if (answer.outcome !== 'ACCEPTED') return undefined;
    if (kind === 'PAUSE') this.#change({ pausedBy: context });
    if (kind === 'RESUME') this.#change({ pausedBy: null });
    if (state.status === 'QUEUED') {
      if (kind !== 'STOP') return undefined; // it is what the run begins with
      this.#tell('START', ACCEPTED, this.#record.startedBy, nowMs);
    }
    return eventOf(kind);
  }

  /** The run has begun: tells the START's outcome. Gives the event of a pause that came before. */
  begun(nowMs: number): RunEvent | undefined {
    this.#tell('START', ACCEPTED, this.#record.startedBy, nowMs);
    return this.#record.pausedBy === null ? undefined : { type: 'pause' };
  }

  /** The flow of the run cannot be run. */
  rejected(failure: { code: ErrorCode; message: string }, nowMs: number): void {
    const answer = rejected(failure.code, failure.message);
    this.#change({ commands: withStartAnswer(this.#record.commands, answer) });
    this.#tell('START', answer, this.#record.startedBy, nowMs);
  }

  /** A pause became quiet: its outcome is told once more. */
  quiescent(nowMs: number): void {
    const context = this.#record.pausedBy ?? this.#record.startedBy;
    const told = { command: 'PAUSE', run: this.#run, answer: ACCEPTED, context, nowMs, isQuiescent: true };
    this.#entries.push(JSON.stringify(outcomeEvent(told)));
  }

  /** What has gathered since the last call, for the next commit. */
  takeWork(): DeskWork {
    const entries = this.#entries.splice(0);
    const answers = this.#answers.splice(0);
    const meta = this.#meta;
    this.#meta = {};
    return {
      entries,
      meta,
      isEmpty: entries.length === 0 && Object.keys(meta).length === 0,
      settle: () => {
        for (const { command, answer, isTold } of answers) command.answer(answer, isTold);
      },
      abandon: () => {
        for (const { command } of answers) command.abandon();
      },
    };
  }

  #tell(command: CommandKind, answer: CommandAnswer, context: CommandContext, nowMs: number): void {
    this.#entries.push(JSON.stringify(outcomeEvent({ command, run: this.#run, answer, context, nowMs })));
  }

  #remember(origin: CommandOrigin | undefined, command: string, answer: CommandAnswer): void {
    if (origin === undefined) return;
    this.#change({ commands: withApplied(this.#record.commands, origin, command, answer) });
  }

  #change(change: Partial<RunRecord>): void {
    this.#record = { ...this.#record, ...change };
    Object.assign(this.#meta, encodeRecord(change));
  }
}

function judgeCommand(kind: RunCommand['kind'], state: RunState, { pausedBy }: RunRecord): CommandAnswer {
  if (isFinalRun(state)) return rejected('RUN_FINAL', `the run has ended: ${state.status}`);
  if (kind === 'STOP') {
    return state.ending?.to === 'STOPPED' ? duplicate('the run is being stopped already') : ACCEPTED;
  }
  if (state.ending !== null) return rejected('RUN_FINAL', `the run is ending: ${state.ending.to}`);
  const isPaused = state.status === 'PAUSED' || (state.status === 'QUEUED' && pausedBy !== null);
  if (kind === 'PAUSE') return isPaused ? duplicate('the run is paused already') : ACCEPTED;
  return isPaused ? ACCEPTED : duplicate('the run is not paused');
}

function eventOf(kind: RunCommand['kind']): RunEvent {
  switch (kind) {
    case 'STOP':
      return { type: 'stop' };
    case 'PAUSE':
      return { type: 'pause' };
    case 'RESUME':
      return { type: 'resume' };
    default:
      return assertNever(kind);
  }
}
