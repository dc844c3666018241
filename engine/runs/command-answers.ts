/**
 * What is answered to a command, whatever source it came from (design 4.3): creates the run of a START, finds the run
 * that another command is for, in memory or in the store, and answers in its place where there is none.
 *
 * A command counts at its run's home only: elsewhere the answer is where that is (design 4.1), so that the order of
 * commands and the memory of redeliveries are kept in one place.
 */
import type { Command, ControlCommand, StartCommand } from '@flowops/proto/commands.ts';
import type { CommandOrigin, Elsewhere } from '../commands/command-sink.ts';
import { isFinalStatus, newRun } from '../scheduler/state.ts';
import { type Ownership, type RunMeta, type RunRef, StoreDamaged } from '../store/run-store.ts';
import { ActiveRun } from './active-run.ts';
import { appliedBefore, withApplied } from './applied-commands.ts';
import { type CommandContext, encodeQueued, encodeRecord, encodeRun, type RunRecord } from './codec.ts';
import { judgeStart } from './judge-start.ts';
import { EMPTY_DEFINITION, readMeta } from './load-run.ts';
import { ACCEPTED, type CommandAnswer, rejected } from './outcomes.ts';
import { type OwnedPartitions, PartitionLost } from './owned-partitions.ts';
import type { RunContext } from './run-context.ts';
import type { RunTable } from './run-table.ts';
import { compareStarts, hashOfStart, isStale, STALE } from './start-identity.ts';

/** How long a STOP for an unknown run is remembered (design 4.1). */
const STOP_MARK_MS = 60 * 60 * 1000;

export interface CommandSource {
  /** In whose order the command was read. */
  readonly partition: string;
  /** Absent for what did not come from Kafka. */
  readonly origin?: CommandOrigin;
  readonly context: CommandContext;
}

export interface Answered {
  readonly answer: CommandAnswer;
  /** Its outcome is in the run's outbox, or will be. */
  readonly isTold: boolean;
}

export interface CommandAnswersOptions {
  readonly context: RunContext;
  readonly owners: OwnedPartitions;
  readonly table: RunTable;
  readonly onFenced: (owner: Ownership) => void;
}

export class CommandAnswers {
  readonly #context: RunContext;
  readonly #owners: OwnedPartitions;
  readonly #table: RunTable;
  readonly #onFenced: (owner: Ownership) => void;

  constructor({ context, owners, table, onFenced }: CommandAnswersOptions) {
    this.#context = context;
    this.#owners = owners;
    this.#table = table;
    this.#onFenced = onFenced;
  }

  /** @throws StoreUnavailable when the engine closes or the store cannot be reached: give the command again. */
  async answer(command: Command, source: CommandSource): Promise<Answered | Elsewhere> {
    try {
      if (command.kind !== 'START') return await this.#control(command, source);
      return await this.#table.lock(command, () => this.#start(command, source));
    } catch (thrown) {
      if (!(thrown instanceof StoreDamaged)) throw thrown;
      this.#context.log.error({ flowId: command.flowId, runId: command.runId }, thrown.message);
      return untold(
        rejected('COMMAND_INVALID', `what the store holds under this run cannot be used: ${thrown.message}`),
      );
    }
  }

  async #start(command: StartCommand, source: CommandSource): Promise<Answered | Elsewhere> {
    const { store, clock, retentionMs } = this.#context;
    const ref: RunRef = { flowId: command.flowId, runId: command.runId };
    const startHash = hashOfStart(command.steps, command.inputs);
    const active = this.#table.get(ref);
    if (active !== undefined) {
      const home = active.owner.partition;
      if (home !== source.partition) return { home };
      return answerAgain({ startHash, source, record: active.record, isQueued: active.state.status === 'QUEUED' });
    }
    const owner = this.#owners.get(source.partition);
    if (source.origin !== undefined && isStale(source.origin, clock.nowMs(), retentionMs)) {
      const known = await store.read(ref);
      if (known === undefined) return untold(STALE);
    }
    return await this.#create(ref, owner, { command, source, startHash });
  }

  async #create(
    ref: RunRef,
    owner: Ownership,
    { command, source, startHash }: { command: StartCommand; source: CommandSource; startHash: string },
  ): Promise<Answered | Elsewhere> {
    const { store, clock } = this.#context;
    const { origin, context } = source;
    const createdMs = clock.nowMs();
    const commands = origin === undefined ? {} : withApplied({}, origin, 'START', ACCEPTED);
    const { priority } = command;
    const record: RunRecord = { startHash, priority, createdMs, startedBy: context, commands, pausedBy: null };
    const state = newRun(ref, EMPTY_DEFINITION);
    const initial = {
      definition: encodeQueued(command.steps, command.inputs),
      meta: { ...encodeRun(state, store.format), ...encodeRecord(record) },
    };
    // Planned meanwhile: nothing of it has an effect before the run is there.
    const judged = this.#table.hasRoom ? judgeStart(ref, command, this.#context) : undefined;
    let created = await store.create(ref, owner, initial);
    const isStopMarked = created.result === 'stop-marked';
    if (isStopMarked) created = await store.create(ref, owner, initial, { ignoreStopMark: true });
    switch (created.result) {
      case 'created': {
        if (!this.#owners.holds(owner)) throw new PartitionLost(owner.partition);
        const stored = { whole: initial, state, record, revision: 1, outboxHead: 1, format: store.format };
        const queued = isStopMarked ? undefined : command;
        const entry = { loaded: { ...stored, unsent: [], notes: [], queued }, isNew: true };
        if (isStopMarked) stopAtOnce(this.#table.enter(ref, owner, entry), context);
        else if (judged !== undefined) this.#table.enter(ref, owner, { ...entry, judged });
        else this.#table.away.wait({ ref, owner, priority, createdMs });
        return { answer: ACCEPTED, isTold: true };
      }
      case 'exists':
        return this.#startAgain(ref, owner, { meta: created.meta, startHash, source });
      case 'fenced':
        this.#onFenced(owner);
        throw new PartitionLost(owner.partition);
      case 'stop-marked':
        throw new Error('a mark was found although it was to be ignored');
    }
  }

  /** A START whose run the store holds. One that is not final and not in memory is taken up again. */
  async #startAgain(
    ref: RunRef,
    owner: Ownership,
    { meta, startHash, source }: { meta: RunMeta; startHash: string; source: CommandSource },
  ): Promise<Answered | Elsewhere> {
    if (meta.partition !== owner.partition) return { home: meta.partition };
    const { state, record } = readMeta(meta);
    if (!isFinalStatus(state.status) && !this.#table.away.isParked(ref)) await this.#table.load(ref, owner);
    // Created by this very owner and not begun: the store's answer to our own START was lost, and this is its repeat.
    const isOurs = state.status === 'QUEUED' && meta.epoch === owner.epoch && meta.revision === 1;
    const again = answerAgain({ startHash, source, record, isQueued: state.status === 'QUEUED' });
    return isOurs && again.answer.outcome === 'DUPLICATE' ? { answer: ACCEPTED, isTold: true } : again;
  }

  async #control(command: ControlCommand, source: CommandSource): Promise<Answered | Elsewhere> {
    const ref: RunRef = { flowId: command.flowId, runId: command.runId };
    for (;;) {
      this.#context.signal.throwIfAborted();
      const found = await this.#table.lock(ref, () => this.#find(ref, command, source));
      if (!(found instanceof ActiveRun)) return found;
      const answered = await handOver(found, command, source);
      if (answered !== undefined) return answered;
      // The run left memory under the command: look again where it is now.
      this.#owners.get(source.partition);
    }
  }

  /** The run in memory, taken up from the store if it has to; or the answer where it cannot take the command. */
  async #find(
    ref: RunRef,
    command: ControlCommand,
    { partition, origin }: CommandSource,
  ): Promise<ActiveRun | Answered | Elsewhere> {
    const active = this.#table.get(ref);
    if (active !== undefined) return active.owner.partition === partition ? active : { home: active.owner.partition };
    const owner = this.#owners.get(partition);
    const stored = await this.#context.store.read(ref);
    if (stored === undefined) return this.#unknown(command);
    if (stored.meta.partition !== partition) return { home: stored.meta.partition };
    const { state, record } = readMeta(stored.meta);
    if (!isFinalStatus(state.status) || stored.outbox.length > 0) {
      const run = await this.#table.load(ref, owner);
      if (run !== undefined) return run;
    }
    const final = rejected('RUN_FINAL', `the run has ended: ${state.status}`);
    return untold(appliedBefore(record.commands, origin) ?? final);
  }

  async #unknown(command: ControlCommand): Promise<Answered> {
    if (command.kind === 'STOP') await this.#context.store.markStopped(command, STOP_MARK_MS);
    return untold(rejected('RUN_UNKNOWN', 'there is no such run'));
  }
}

/** Undefined when the run left memory before the command had an effect. */
function handOver(run: ActiveRun, command: ControlCommand, source: CommandSource): Promise<Answered | undefined> {
  const { context, origin } = source;
  return new Promise((resolve) => {
    run.post({
      kind: 'command',
      command: {
        ...{ kind: command.kind, context, ...(origin === undefined ? {} : { origin }) },
        answer: (answer, isTold) => resolve({ answer, isTold }),
        abandon: () => resolve(undefined),
      },
    });
  });
}

/** A START of a run that is known. One that is read again gets the outcome it had, once that is known. */
function answerAgain(known: {
  readonly startHash: string;
  readonly source: CommandSource;
  readonly record: RunRecord;
  readonly isQueued: boolean;
}): Answered {
  const { record, source, startHash, isQueued } = known;
  const before = appliedBefore(record.commands, source.origin);
  const isSame = record.startHash === startHash;
  if (before !== undefined && isSame) return { answer: before, isTold: isQueued };
  return untold(compareStarts(record.startHash, startHash));
}

/** A STOP came before this START: it ends STOPPED without running (design 4.1). */
function stopAtOnce(run: ActiveRun, context: CommandContext): void {
  const ignore = () => undefined;
  run.post({ kind: 'command', command: { kind: 'STOP', context, answer: ignore, abandon: ignore } });
}

function untold(answer: CommandAnswer): Answered {
  return { answer, isTold: false };
}
