/**
 * All runs of this engine, as the rest of it sees them: takes commands from any source, opens and gives up partitions,
 * lets go of everything at the end. What a command is answered is in command-answers.ts, which runs are in memory in
 * run-table.ts, what happens inside a run in active-run.ts.
 *
 * Invariants:
 *   V2. A command is answered only when its effect, or the refusal's outcome, is durable or sent (G1).
 */
import type { Command } from '@flowops/proto/commands.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import { runKey, type Via } from '@flowops/proto/statuses.ts';
import { KeyedLock } from '../base/keyed-lock.ts';
import type { CommandOrigin, CommandSink, Elsewhere } from '../commands/command-sink.ts';
import { type Ownership, type RunRef, StoreUnavailable } from '../store/run-store.ts';
import type { ActiveRun } from './active-run.ts';
import { type Answered, CommandAnswers } from './command-answers.ts';
import { type CommandAnswer, outcomeEvent, rejected } from './outcomes.ts';
import { OwnedPartitions, PartitionLost } from './owned-partitions.ts';
import type { RunContext } from './run-context.ts';
import { RunTable } from './run-table.ts';
import { untilAvailable } from './until-available.ts';

/** Runs in memory at once: at some 20 to 50 KB each, a bounded share of a small machine. */
export const MAX_ACTIVE_RUNS = 2_000;
const DRAIN_LOOK_MS = 10;
/** A group tells of a partition that was lost well within this time; who still holds it then was fenced by nobody's right. */
const REOPEN_AFTER_MS = 3_000;

export class RunService implements CommandSink {
  readonly #context: RunContext;
  readonly #owners = new OwnedPartitions();
  readonly #table: RunTable;
  readonly #answers: CommandAnswers;
  readonly #arrivals = new KeyedLock();
  /** Partitions that the group gave to this engine. */
  readonly #assigned = new Set<string>();
  readonly #reopening = new Set<string>();
  /** Two openings of one partition would each take up its runs under an epoch of its own. */
  readonly #openings = new KeyedLock();
  /** Being opened, and not given up since that began. */
  readonly #beingOpened = new Set<string>();

  constructor(context: RunContext, options: { maxActiveRuns?: number } = {}) {
    this.#context = context;
    const owners = this.#owners;
    const onFenced = (owner: Ownership) => this.#fenced(owner);
    const maxActiveRuns = options.maxActiveRuns ?? MAX_ACTIVE_RUNS;
    this.#table = new RunTable({ context, owners, maxActiveRuns, onFenced });
    this.#answers = new CommandAnswers({ context, owners, table: this.#table, onFenced });
    context.sandboxes.onChange(() => this.#hostsChanged());
    context.standing.onChange(() => this.#standingChanged());
    context.store.onDoubt(() => this.#table.repair.verify());
    context.store.onTaken(({ partition, epoch }) => {
      const mine = this.#owners.find(partition);
      if (mine !== undefined && mine.epoch < epoch) this.#fenced(mine);
    });
    context.store.onNote((ref, text) => this.#table.get(ref)?.noted(text));
  }

  get activeCount(): number {
    return this.#table.size;
  }

  get queuedCount(): number {
    return this.#table.away.queuedCount;
  }

  /** Runs that rest in the store until a command or their time comes. */
  get parkedCount(): number {
    return this.#table.away.parkedCount;
  }

  get unknownFormatCount(): number {
    return this.#table.unknownFormats;
  }

  /** Runs that a store lost, and that could not be written again. */
  get lostCount(): number {
    return this.#table.lostRuns;
  }

  /** Runs whose STOPPED waits for the proven end of an attempt. */
  get unconfirmedStopCount(): number {
    let count = 0;
    for (const run of this.#table.all()) if (run.isStopUnconfirmed) count++;
    return count;
  }

  /** Resolves when every run has looked at what the store holds of it, and has written again what was lost. */
  verified(): Promise<void> {
    return this.#table.repair.verified();
  }

  /** Digests of the bundles that the runs of this engine pin, as far as they are known. */
  pinnedDigests(): Set<string> {
    const digests = new Set<string>(this.#table.away.digests());
    for (const run of this.#table.all()) for (const { digest } of run.state.definition.plugins) digests.add(digest);
    return digests;
  }

  active(ref: RunRef): ActiveRun | undefined {
    return this.#table.get(ref);
  }

  async take(command: Command, origin: CommandOrigin): Promise<Elsewhere | undefined> {
    const from = { partition: String(origin.partition), origin };
    const answered = await this.#arrivals.runInOrder(runKey(command), () => this.#answer(command, 'kafka', from));
    return 'home' in answered ? answered : undefined;
  }

  /**
   * Applies a command and answers when the answer is durable.
   * @throws StoreUnavailable when the engine closes or the store cannot be reached: give the command again.
   */
  async handle(
    command: Command,
    via: Via,
    from: { partition: string; origin?: CommandOrigin },
  ): Promise<CommandAnswer> {
    const answered = await this.#answer(command, via, from);
    if (!('home' in answered)) return answered.answer;
    return rejected('COMMAND_INVALID', `the run is at home in partition ${answered.home}; send the command there`);
  }

  async partitionsAssigned(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) this.#assigned.add(String(partition));
    // Without trying for ever: what the group takes away meanwhile must not be opened.
    await Promise.all(partitions.map((partition) => this.#open(String(partition))));
  }

  async partitionsRevoked(partitions: readonly number[]): Promise<void> {
    const revoked = new Set(partitions.map(String));
    for (const partition of revoked) this.#assigned.delete(partition);
    this.#giveUp(revoked);
    await Promise.all([...revoked].map((partition) => this.#context.store.closePartition(partition)));
  }

  /** Takes a partition over and recovers its runs; resolves when it is owned, recovery goes on behind. */
  async openPartition(partition: string): Promise<void> {
    await untilAvailable(() => this.#open(partition), this.#context);
  }

  /** A partition that is not Kafka's: its runs leave memory and stay as they are. */
  async closePartition(partition: string): Promise<void> {
    this.#giveUp(new Set([partition]));
    await this.#context.store.closePartition(partition);
  }

  /**
   * Finds partitions that another engine has opened while nothing of them was written: one that came too late, with an
   * assignment that was over. Never rejects.
   */
  async checkOwnership(): Promise<void> {
    const { store, signal, log } = this.#context;
    for (const owner of this.#owners.all()) {
      try {
        if ((await store.restorePartition(owner, [])) === 'fenced') this.#fenced(owner);
      } catch (thrown) {
        if (!signal.aborted) log.debug({ ...owner }, `its epoch was not looked at: ${messageOf(thrown)}`);
      }
    }
  }

  /** Resolves when nothing runs that ends with this engine and all is committed and sent, or after `drainMs`. */
  async drain(drainMs: number): Promise<void> {
    const { clock, pause, signal } = this.#context;
    const deadlineMs = clock.nowMs() + drainMs;
    while (this.#isBusy() && clock.nowMs() < deadlineMs && !signal.aborted) await pause(DRAIN_LOOK_MS, signal);
  }

  /**
   * Every run leaves memory and stays as it is in the store. Resolves when the ends of the attempts that only this engine
   * could end are noted for the next owner, or after `limitMs`.
   */
  async letGoOfAll(limitMs: number): Promise<void> {
    const { pause, signal } = this.#context;
    this.dropAll();
    const done = new AbortController();
    const either = AbortSignal.any([done.signal, signal]);
    await Promise.race([this.#table.allLetGo(), pause(limitMs, either)]);
    done.abort();
  }

  dropAll(): void {
    this.#table.dropAll();
  }

  async #answer(
    command: Command,
    via: Via,
    from: { partition: string; origin?: CommandOrigin },
  ): Promise<Answered | Elsewhere> {
    const context = { triggeredBy: command.triggeredBy, via, reason: command.reason };
    const answered = await this.#answers.answer(command, { ...from, context });
    if ('home' in answered || answered.isTold) return answered;
    const { publisher, clock } = this.#context;
    const { flowId, runId } = command;
    const { answer } = answered;
    const told = { command: command.kind, run: { flowId, runId }, answer, context, nowMs: clock.nowMs() };
    // In its partition's name: whoever has that next reads the command again, and may have another answer.
    await publisher.publishOutcome(outcomeEvent(told), from.partition);
    return answered;
  }

  #open(partition: string): Promise<void> {
    return this.#openings.run(partition, () => this.#openNow(partition));
  }

  async #openNow(partition: string): Promise<void> {
    const { store, signal, log, standing } = this.#context;
    // A process that was stopped and wakes must not open what was its own: the group has given it to another.
    if (!standing.isGood) throw new StoreUnavailable('the engine has lost touch with its group');
    this.#giveUp(new Set([partition]));
    this.#beingOpened.add(partition);
    const owner = await store.openPartition(partition);
    const refs = await store.activeRuns(partition);
    if (!this.#beingOpened.delete(partition)) throw new PartitionLost(partition);
    this.#owners.hold(owner);
    if (refs.length > 0) log.info({ partition, epoch: owner.epoch, runs: refs.length }, 'recovering runs');
    void this.#table.recover(refs, owner).catch((thrown) => {
      if (!signal.aborted) log.error({ partition, err: thrown }, 'recovery stopped; a restart tries again');
    });
  }

  #giveUp(partitions: ReadonlySet<string>): void {
    for (const partition of partitions) {
      this.#owners.drop(partition);
      this.#beingOpened.delete(partition);
    }
    this.#table.dropPartitions(partitions);
  }

  /**
   * A newer epoch was seen. Mostly the group has given the partition to another engine and will say so; until then
   * nothing of it is done. Where it does not, an engine that came too late has opened what is ours: it is opened again.
   */
  #fenced(owner: Ownership): void {
    const { partition } = owner;
    if (!this.#owners.holds(owner)) return;
    this.#context.log.warn({ ...owner }, 'another engine took this partition over');
    this.#giveUp(new Set([partition]));
    if (!this.#assigned.has(partition) || this.#reopening.has(partition)) return;
    this.#reopening.add(partition);
    void this.#reopen(partition).finally(() => this.#reopening.delete(partition));
  }

  /** Tries until it is open, or not ours any more. Never rejects. */
  async #reopen(partition: string): Promise<void> {
    const { log, pause, signal, standing } = this.#context;
    for (;;) {
      await pause(REOPEN_AFTER_MS, signal);
      if (signal.aborted || !this.#isOurs(partition)) return;
      if (!standing.isGood) continue;
      try {
        return await this.#openings.run(partition, async () => {
          if (this.#isOurs(partition)) await this.#openNow(partition);
        });
      } catch (thrown) {
        log.warn({ partition }, `a partition that is ours could not be opened again: ${messageOf(thrown)}`);
      }
    }
  }

  /** The group gave it to us, and it was not opened since. */
  #isOurs(partition: string): boolean {
    return this.#assigned.has(partition) && this.#owners.find(partition) === undefined;
  }

  #hostsChanged(): void {
    for (const run of [...this.#table.all()]) run.hostsChanged();
    this.#context.admission.refill();
  }

  #standingChanged(): void {
    if (this.#context.standing.isGood) this.#context.admission.refill();
    else for (const run of this.#table.all()) run.standingLost();
  }

  #isBusy(): boolean {
    for (const run of this.#table.all()) if (run.isBusy) return true;
    return false;
  }
}
