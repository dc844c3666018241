/**
 * All runs of this engine: takes commands from any source, creates, loads and recovers runs, and answers. What
 * happens inside a run is ActiveRun's business.
 *
 * Invariants:
 *   V1. A run is in memory at most once; START and loading of one run never overlap (#locks).
 *   V2. A command is answered only when its effect, or the refusal's outcome, is durable or sent (G1).
 *   V3. At most MAX_ACTIVE_RUNS are in memory, but for those that commands came for; others wait in the store, by
 *       priority, then age. A run that rests (rest.ts) is not among them: it is parked.
 */
import type { Command, ControlCommand, StartCommand } from '@flowops/proto/commands.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import { runKey, type Via } from '@flowops/proto/statuses.ts';
import type { CommandOrigin, CommandSink, Elsewhere } from '../commands/command-sink.ts';
import { type FinalStatus, isFinalRun, isFinalStatus, newRun } from '../scheduler/state.ts';
import { type Ownership, type RunMeta, type RunRef, StoreDamaged } from '../store/run-store.ts';
import { ActiveRun } from './active-run.ts';
import { AwayRuns } from './away-runs.ts';
import { type CommandContext, decodeMeta, encodeQueued, encodeRecord, encodeRun, type RunRecord } from './codec.ts';
import { judgeStart } from './judge-start.ts';
import { KeyedLock } from './keyed-lock.ts';
import { EMPTY_DEFINITION, type LoadedRun, loadRun } from './load-run.ts';
import { ACCEPTED, type CommandAnswer, outcomeEvent, rejected } from './outcomes.ts';
import { OwnedPartitions } from './owned-partitions.ts';
import { isLongRest, type Rest, restOf } from './rest.ts';
import type { RunContext } from './run-context.ts';
import { compareStarts, hashOfStart, isStale, STALE } from './start-identity.ts';
import type { RunMessage } from './turn.ts';
import { untilAvailable } from './until-available.ts';

/** Runs in memory at once: at some 20 to 50 KB each, a bounded share of a small machine. */
export const MAX_ACTIVE_RUNS = 2_000;
/** Runs claimed from the store at the same time during recovery. */
const MAX_CONCURRENT_CLAIMS = 64;
/** How long a STOP for an unknown run is remembered (design 4.1). */
const STOP_MARK_MS = 60 * 60 * 1000;
const DRAIN_LOOK_MS = 10;

export class RunService implements CommandSink {
  readonly #context: RunContext;
  readonly #runs = new Map<string, ActiveRun>();
  readonly #owners: OwnedPartitions;
  readonly #locks = new KeyedLock();
  readonly #arrivals = new KeyedLock();
  readonly #away: AwayRuns;
  readonly #maxActiveRuns: number;
  /** Runs of a format that this release does not know: not touched (design 4.2). */
  #unknownFormats = 0;

  constructor(context: RunContext, options: { maxActiveRuns?: number } = {}) {
    this.#context = context;
    this.#owners = new OwnedPartitions(context.log);
    this.#maxActiveRuns = options.maxActiveRuns ?? MAX_ACTIVE_RUNS;
    this.#away = new AwayRuns({
      context,
      room: () => this.#maxActiveRuns - this.#runs.size,
      load: (ref, owner) => this.#takeUp(ref, owner),
    });
    context.sandboxes.onChange(() => context.admission.refill());
  }

  get activeCount(): number {
    return this.#runs.size;
  }

  get queuedCount(): number {
    return this.#away.queuedCount;
  }

  /** Runs that rest in the store until a command or their time comes. */
  get parkedCount(): number {
    return this.#away.parkedCount;
  }

  get unknownFormatCount(): number {
    return this.#unknownFormats;
  }

  /** Digests of the bundles that the runs of this engine pin, as far as they are known. */
  pinnedDigests(): Set<string> {
    const digests = new Set<string>(this.#away.digests());
    for (const run of this.#runs.values()) for (const { digest } of run.state.definition.plugins) digests.add(digest);
    return digests;
  }

  active(ref: RunRef): ActiveRun | undefined {
    return this.#runs.get(runKey(ref));
  }

  async take(command: Command, origin: CommandOrigin): Promise<Elsewhere | undefined> {
    const from = { partition: String(origin.partition), origin };
    await this.#arrivals.runInOrder(runKey(command), () => this.handle(command, 'kafka', from));
    return undefined;
  }

  async partitionsAssigned(partitions: readonly number[]): Promise<void> {
    await Promise.all(partitions.map((partition) => this.openPartition(String(partition))));
  }

  async partitionsRevoked(partitions: readonly number[]): Promise<void> {
    const revoked = new Set(partitions.map(String));
    for (const partition of revoked) this.#owners.drop(partition);
    this.#away.dropPartitions(revoked);
    for (const run of this.#runs.values()) if (revoked.has(run.owner.partition)) run.drop();
  }

  /** Takes a partition over and recovers its runs; resolves when it is owned, recovery goes on behind. */
  async openPartition(partition: string): Promise<void> {
    const { store, signal, log } = this.#context;
    const owner = await untilAvailable(() => store.openPartition(partition), this.#context);
    this.#owners.hold(owner);
    const refs = await untilAvailable(() => store.activeRuns(partition), this.#context);
    if (refs.length > 0) log.info({ partition, epoch: owner.epoch, runs: refs.length }, 'recovering runs');
    void this.#recover(refs, owner).catch((thrown) => {
      if (!signal.aborted) log.error({ partition, err: thrown }, 'recovery stopped; a restart tries again');
    });
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
    const context: CommandContext = { triggeredBy: command.triggeredBy, via, reason: command.reason };
    const { answer, isTold } = await this.#answer(command, context, from);
    if (!isTold) {
      const { publisher, clock } = this.#context;
      const { flowId, runId } = command;
      const told = { command: command.kind, run: { flowId, runId }, answer, context, nowMs: clock.nowMs() };
      await publisher.publishOutcome(outcomeEvent(told));
    }
    return answer;
  }

  async #answer(
    command: Command,
    context: CommandContext,
    from: { partition: string; origin?: CommandOrigin },
  ): Promise<Answered> {
    try {
      if (command.kind !== 'START') return await this.#control(command, context, from);
      return await this.#locks.run(runKey(command), () => this.#start(command, context, from));
    } catch (thrown) {
      if (!(thrown instanceof StoreDamaged)) throw thrown;
      this.#context.log.error({ flowId: command.flowId, runId: command.runId }, thrown.message);
      return untold(
        rejected('COMMAND_INVALID', `what the store holds under this run cannot be used: ${thrown.message}`),
      );
    }
  }

  /** Resolves when no attempt runs and all is committed and sent, or after `drainMs`. */
  async drain(drainMs: number): Promise<void> {
    const { clock, pause, signal } = this.#context;
    const deadlineMs = clock.nowMs() + drainMs;
    while (this.#isBusy() && clock.nowMs() < deadlineMs && !signal.aborted) await pause(DRAIN_LOOK_MS, signal);
  }

  /** Every run leaves memory and stays as it is in the store. */
  dropAll(): void {
    this.#away.dropAll();
    for (const run of [...this.#runs.values()]) run.drop();
  }

  #isBusy(): boolean {
    for (const run of this.#runs.values()) if (run.isBusy) return true;
    return false;
  }

  async #start(
    command: StartCommand,
    context: CommandContext,
    from: { partition: string; origin?: CommandOrigin },
  ): Promise<Answered> {
    const ref: RunRef = { flowId: command.flowId, runId: command.runId };
    const startHash = hashOfStart(command.steps, command.inputs);
    const active = this.#runs.get(runKey(ref));
    if (active !== undefined) return untold(compareStarts(active.record.startHash, startHash));
    const owner = this.#owners.get(from.partition);
    const nowMs = this.#context.clock.nowMs();
    if (from.origin !== undefined && isStale(from.origin, nowMs, this.#context.retentionMs)) {
      const known = await this.#context.store.read(ref);
      if (known === undefined) return untold(STALE);
    }
    const record: RunRecord = {
      startHash,
      priority: command.priority,
      createdMs: nowMs,
      startedBy: context,
      commands: {},
      pausedBy: null,
    };
    const state = newRun(ref, EMPTY_DEFINITION);
    const initial = {
      definition: encodeQueued(command.steps, command.inputs),
      meta: { ...encodeRun(state), ...encodeRecord(record) },
    };
    // Planned meanwhile: nothing of it has an effect before the run is there.
    const judged = this.#runs.size < this.#maxActiveRuns ? judgeStart(ref, command, this.#context) : undefined;
    let created = await this.#context.store.create(ref, owner, initial);
    const isStopMarked = created.result === 'stop-marked';
    if (isStopMarked) created = await this.#context.store.create(ref, owner, initial, { ignoreStopMark: true });
    switch (created.result) {
      case 'created': {
        const loaded = { state, record, revision: 1, outboxHead: 1, unsent: [], queued: command };
        if (isStopMarked) this.#stopAtOnce(this.#enter(ref, owner, { ...loaded, queued: undefined }), context);
        else if (judged !== undefined) this.#enter(ref, owner, loaded, judged);
        else this.#away.wait({ ref, owner, priority: command.priority, createdMs: nowMs });
        return { answer: ACCEPTED, isTold: true };
      }
      case 'exists':
        return this.#startAgain(ref, owner, created.meta, startHash);
      case 'fenced':
        throw this.#owners.fenced(owner);
      case 'stop-marked':
        throw new Error('a mark was found although it was to be ignored');
    }
  }

  /** A START whose run the store holds. One that is not final and not in memory is taken up again. */
  async #startAgain(ref: RunRef, owner: Ownership, meta: RunMeta, startHash: string): Promise<Answered> {
    const { state, record } = decodeMeta(meta);
    if (!isFinalStatus(state.status) && !this.#away.isParked(ref)) await this.#load(ref, owner);
    const answer = compareStarts(record.startHash, startHash);
    // Created by this very owner and not begun: the store's answer to our own START was lost, and this is its repeat.
    const isOurs = state.status === 'QUEUED' && meta.epoch === owner.epoch && meta.revision === 1;
    return isOurs && answer.outcome === 'DUPLICATE' ? { answer: ACCEPTED, isTold: true } : untold(answer);
  }

  async #control(
    command: ControlCommand,
    context: CommandContext,
    from: { partition: string; origin?: CommandOrigin },
  ): Promise<Answered> {
    const ref: RunRef = { flowId: command.flowId, runId: command.runId };
    for (;;) {
      this.#context.signal.throwIfAborted();
      const run = await this.#locks.run(runKey(ref), () => this.#find(ref, from.partition));
      if (!(run instanceof ActiveRun)) return untold(await this.#refuse(command, run));
      const answered = await new Promise<Answered | undefined>((resolve) => {
        run.post({
          kind: 'command',
          command: {
            kind: command.kind,
            context,
            ...(from.origin === undefined ? {} : { origin: from.origin }),
            answer: (answer, isTold) => resolve({ answer, isTold }),
            abandon: () => resolve(undefined),
          },
        });
      });
      if (answered !== undefined) return answered;
      // The run left memory under the command: look again where it is now.
      this.#owners.get(from.partition);
    }
  }

  /** The run in memory, taken up from the store if it has to; its final status; or `unknown`. */
  async #find(ref: RunRef, partition: string): Promise<ActiveRun | 'unknown' | FinalStatus> {
    const active = this.#runs.get(runKey(ref));
    if (active !== undefined) return active;
    const owner = this.#owners.get(partition);
    const stored = await this.#context.store.read(ref);
    if (stored === undefined) return 'unknown';
    const { status } = decodeMeta(stored.meta).state;
    if (isFinalStatus(status) && stored.outbox.length === 0) return status;
    return (await this.#load(ref, owner)) ?? 'unknown';
  }

  async #refuse(command: ControlCommand, why: 'unknown' | FinalStatus): Promise<CommandAnswer> {
    if (why !== 'unknown') return rejected('RUN_FINAL', `the run has ended: ${why}`);
    if (command.kind === 'STOP') await this.#context.store.markStopped(command, STOP_MARK_MS);
    return rejected('RUN_UNKNOWN', 'there is no such run');
  }

  async #recover(refs: readonly RunRef[], owner: Ownership): Promise<void> {
    const { clock, log } = this.#context;
    const beganMs = clock.nowMs();
    const queue = refs.entries();
    const workers = Array.from({ length: Math.min(MAX_CONCURRENT_CLAIMS, refs.length) }, async () => {
      for (const [age, ref] of queue) {
        if (!this.#owners.holds(owner)) return;
        if (this.#runs.size >= this.#maxActiveRuns) {
          // What it is worth is in the store; the order of the index, which is that of their STARTs, has to do.
          this.#away.wait({ ref, owner, priority: 0, createdMs: age });
          continue;
        }
        await this.#takeUp(ref, owner);
      }
    });
    await Promise.all(workers);
    const ms = clock.nowMs() - beganMs;
    if (refs.length > 0) log.info({ partition: owner.partition, runs: refs.length, ms }, 'the runs are recovered');
  }

  /** Brings a run into memory for which no command waits, unless it rests. */
  async #takeUp(ref: RunRef, owner: Ownership): Promise<void> {
    const load = async () => {
      if (!this.#runs.has(runKey(ref)) && this.#owners.holds(owner)) await this.#load(ref, owner, { mayRest: true });
    };
    await this.#locks.run(runKey(ref), () => untilAvailable(load, this.#context));
  }

  /**
   * Claims a run and takes it up. Undefined when there is nothing to take up.
   * @param options.mayRest one that rests is parked instead
   */
  async #load(ref: RunRef, owner: Ownership, options: { mayRest?: boolean } = {}): Promise<ActiveRun | undefined> {
    const { store, log, retentionMs, clock } = this.#context;
    const claim = await store.claim(ref, owner);
    this.#away.forget(ref);
    switch (claim.result) {
      case 'fenced':
        throw this.#owners.fenced(owner);
      case 'missing':
        await store.retire(ref, owner, retentionMs); // an index entry without keys
        return undefined;
      case 'unknown-format':
        this.#unknownFormats++;
        log.error({ ...ref, format: claim.format }, 'the run was written by another release; it is not touched');
        return undefined;
      case 'claimed':
        break;
    }
    let loaded: LoadedRun;
    try {
      loaded = loadRun(ref, claim.run);
    } catch (thrown) {
      log.error({ ...ref, err: thrown }, messageOf(thrown));
      return undefined;
    }
    if (isFinalRun(loaded.state) && loaded.unsent.length === 0) {
      await store.retire(ref, owner, retentionMs);
      return undefined;
    }
    const rest = loaded.unsent.length === 0 ? restOf(loaded.state) : undefined;
    if (options.mayRest === true && rest?.kind !== 'place' && isLongRest(rest, clock.nowMs())) {
      this.#away.park({ ref, owner, state: loaded.state, record: loaded.record }, rest);
      return undefined;
    }
    return this.#enter(ref, owner, loaded);
  }

  /** @param judged of a queued run whose flow is being checked already */
  #enter(ref: RunRef, owner: Ownership, loaded: LoadedRun, judged?: Promise<RunMessage | undefined>): ActiveRun {
    const { state, record, revision, outboxHead, unsent, queued } = loaded;
    const run = new ActiveRun({
      ...{ ref, owner, state, record, revision, outboxHead },
      context: this.#context,
      onGone: (gone) => this.#leave(gone),
      onRest: (resting, rest) => this.#rest(resting, rest),
    });
    this.#runs.set(run.key, run);
    if (unsent.length > 0 || revision > 1) run.resumeWork(unsent);
    if (queued !== undefined) {
      const judging = judged ?? judgeStart(ref, queued, this.#context);
      void judging.then((message) => message !== undefined && run.post(message));
    }
    return run;
  }

  #leave(run: ActiveRun): void {
    if (this.#runs.get(run.key) === run) this.#runs.delete(run.key);
    this.#away.admit();
  }

  /** The run leaves memory; where it only waits for a place, then when commands have brought in more than there is room for. */
  #rest(run: ActiveRun, rest: Rest): void {
    if (rest.kind !== 'place') {
      this.#away.park(run, rest);
      run.drop();
    } else if (this.#runs.size > this.#maxActiveRuns) {
      run.drop();
      this.#away.wait({ ref: run.ref, owner: run.owner, priority: run.priority, createdMs: run.record.createdMs });
    }
  }

  /** A STOP came before this START: it ends STOPPED without running (design 4.1). */
  #stopAtOnce(run: ActiveRun, context: CommandContext): void {
    const ignore = () => undefined;
    run.post({ kind: 'command', command: { kind: 'STOP', context, answer: ignore, abandon: ignore } });
  }
}

interface Answered {
  readonly answer: CommandAnswer;
  /** Its outcome is in the run's outbox. */
  readonly isTold: boolean;
}

function untold(answer: CommandAnswer): Answered {
  return { answer, isTold: false };
}
