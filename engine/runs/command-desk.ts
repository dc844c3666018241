/**
 * Answers the commands to one run (design 4.3): judges each against the run's state, remembers by partition and
 * offset which were applied (a redelivery has no effect and gets the same outcome again), and collects the outcomes
 * that the next commit stores. A command is answered only when that commit is durable.
 */
import type { CommandKind } from '@flowops/proto/commands.ts';
import { assertNever, type ErrorCode, isErrorCode } from '@flowops/proto/errors.ts';
import type { CommandOrigin } from '../commands/command-sink.ts';
import type { RunEvent } from '../scheduler/events.ts';
import { isFinalRun, type RunState } from '../scheduler/state.ts';
import type { RunRef } from '../store/run-store.ts';
import type { AppliedCommand, CommandContext, RunRecord } from './codec.ts';
import { encodeRecord } from './codec.ts';
import { ACCEPTED, type CommandAnswer, duplicate, outcomeEvent, rejected } from './outcomes.ts';

/** Applied commands remembered per partition: a redelivery comes within the last few. */
const MAX_REMEMBERED = 16;

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
  /** PAUSE and RESUME of a run that has not begun: judged when it has. */
  #deferred: RunCommand[] = [];

  constructor(run: RunRef, record: RunRecord) {
    this.#run = run;
    this.#record = record;
  }

  get record(): RunRecord {
    return this.#record;
  }

  /** The event that the command means, or undefined when it changes nothing. */
  judge(command: RunCommand, state: RunState, nowMs: number): RunEvent | undefined {
    const before = this.#appliedBefore(command.origin);
    if (before !== undefined) {
      this.#answer(command, before, false);
      return undefined;
    }
    if (state.status === 'QUEUED' && command.kind !== 'STOP') {
      this.#deferred.push(command);
      return undefined;
    }
    const answer = judgeCommand(command.kind, state);
    if (answer.outcome !== 'ACCEPTED') {
      this.#answer(command, answer, false);
      return undefined;
    }
    this.#remember(command, answer);
    this.#tell(command.kind, answer, command.context, nowMs);
    this.#answer(command, answer, true);
    if (command.kind === 'PAUSE') this.#change({ pausedBy: command.context });
    if (command.kind === 'STOP' && state.status === 'QUEUED')
      this.#tell('START', ACCEPTED, this.#record.startedBy, nowMs);
    return eventOf(command.kind);
  }

  /** The run has begun: tells the START's outcome and judges what waited for it. */
  *begun(state: RunState, nowMs: number): Generator<RunEvent> {
    this.#tell('START', ACCEPTED, this.#record.startedBy, nowMs);
    for (const command of this.#deferred.splice(0)) {
      const event = this.judge(command, state, nowMs);
      if (event !== undefined) yield event;
    }
  }

  /** The flow of the run cannot be run. */
  rejected(failure: { code: ErrorCode; message: string }, state: RunState, nowMs: number): void {
    this.#tell('START', rejected(failure.code, failure.message), this.#record.startedBy, nowMs);
    for (const command of this.#deferred.splice(0)) this.judge(command, state, nowMs);
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

  /** The run leaves memory. */
  abandon(): void {
    for (const command of this.#deferred.splice(0)) command.abandon();
  }

  #answer(command: RunCommand, answer: CommandAnswer, isTold: boolean): void {
    this.#answers.push({ command, answer, isTold });
  }

  #tell(command: CommandKind, answer: CommandAnswer, context: CommandContext, nowMs: number): void {
    this.#entries.push(JSON.stringify(outcomeEvent({ command, run: this.#run, answer, context, nowMs })));
  }

  #appliedBefore(origin: CommandOrigin | undefined): CommandAnswer | undefined {
    const applied = origin === undefined ? undefined : this.#record.commands[origin.partition];
    const last = applied?.at(-1);
    if (origin === undefined || applied === undefined || last === undefined) return undefined;
    if (BigInt(origin.offset) > BigInt(last.offset)) return undefined;
    const same = applied.find(({ offset }) => offset === origin.offset);
    if (same === undefined) return duplicate('a later command of this partition was applied already');
    return {
      outcome: same.outcome,
      code: same.code !== null && isErrorCode(same.code) ? same.code : null,
      message: same.message,
    };
  }

  #remember(command: RunCommand, answer: CommandAnswer): void {
    const { origin } = command;
    if (origin === undefined) return;
    const applied: AppliedCommand = { offset: origin.offset, command: command.kind, ...answer };
    const before = this.#record.commands[origin.partition] ?? [];
    const commands = { ...this.#record.commands, [origin.partition]: [...before, applied].slice(-MAX_REMEMBERED) };
    this.#change({ commands });
  }

  #change(change: Partial<RunRecord>): void {
    this.#record = { ...this.#record, ...change };
    Object.assign(this.#meta, encodeRecord(change));
  }
}

function judgeCommand(kind: RunCommand['kind'], state: RunState): CommandAnswer {
  if (isFinalRun(state)) return rejected('RUN_FINAL', `the run has ended: ${state.status}`);
  if (kind === 'STOP') {
    return state.ending?.to === 'STOPPED' ? duplicate('the run is being stopped already') : ACCEPTED;
  }
  if (state.ending !== null) return rejected('RUN_FINAL', `the run is ending: ${state.ending.to}`);
  if (kind === 'PAUSE') return state.status === 'PAUSED' ? duplicate('the run is paused already') : ACCEPTED;
  return state.status === 'RUNNING' ? duplicate('the run is running') : ACCEPTED;
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
