/**
 * All runs of this engine: takes commands from any source, creates, loads and recovers runs, and answers. What
 * happens inside a run is ActiveRun's business.
 *
 * Invariants:
 *   V1. A run is in memory at most once; START and loading of one run never overlap (#locks).
 *   V2. A command is answered only when its effect, or the refusal's outcome, is durable or sent (G1).
 *   V3. At most MAX_ACTIVE_RUNS are in memory; others wait in the store, by priority, then age.
 */
import type { Command, ControlCommand, StartCommand } from '@flowops/proto/commands.ts';
import { type ErrorCode, messageOf } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { runKey, type Via } from '@flowops/proto/statuses.ts';
import type { CommandOrigin, CommandSink, Elsewhere } from '../commands/command-sink.ts';
import { describeProblems } from '../scheduler/plan.ts';
import { type FinalStatus, isFinalRun, isFinalStatus, newRun } from '../scheduler/state.ts';
import { type Ownership, type RunMeta, type RunRef, StoreDamaged } from '../store/run-store.ts';
import { ActiveRun, type RunMessage } from './active-run.ts';
import { Backlog } from './backlog.ts';
import { type CommandContext, decodeMeta, encodeQueued, encodeRecord, encodeRun, type RunRecord } from './codec.ts';
import { KeyedLock } from './keyed-lock.ts';
import { EMPTY_DEFINITION, type LoadedRun, loadRun } from './load-run.ts';
import { ACCEPTED, type CommandAnswer, outcomeEvent, rejected } from './outcomes.ts';
import { OwnedPartitions } from './owned-partitions.ts';
import { planStart } from './planning.ts';
import type { RunContext } from './run-context.ts';
import { compareStarts, hashOfStart } from './start-identity.ts';
import { untilAvailable } from './until-available.ts';

/** Runs in memory at once: at some 20 to 50 KB each, a bounded share of a small machine. */
export const MAX_ACTIVE_RUNS = 2_000;
/** Runs claimed from the store at the same time during recovery. */
const MAX_CONCURRENT_CLAIMS = 64;
/** How long a STOP for an unknown run is remembered (design 4.1). */
const STOP_MARK_MS = 60 * 60 * 1000;
/** A finished run's meta is kept at least this long, so that a repeated START is known (design 4.3). */
const MIN_META_RETENTION_MS = 7 * 24 * 60 * 60 * 1000;
const STALE_MARGIN_MS = 60 * 60 * 1000;
const DRAIN_LOOK_MS = 10;

export class RunService implements CommandSink {
  readonly #context: RunContext;
  readonly #runs = new Map<string, ActiveRun>();
  readonly #owners: OwnedPartitions;
  readonly #locks = new KeyedLock();
  readonly #arrivals = new KeyedLock();
  readonly #backlog = new Backlog();
  readonly #maxActiveRuns: number;
  /** Runs of a format that this release does not know: not touched (design 4.2). */
  #unknownFormats = 0;

  constructor(context: RunContext, options: { maxActiveRuns?: number } = {}) {
    this.#context = context;
    this.#owners = new OwnedPartitions(context.log);
    this.#maxActiveRuns = options.maxActiveRuns ?? MAX_ACTIVE_RUNS;
    context.sandboxes.onChange(() => context.admission.refill());
  }

  get activeCount(): number {
    return this.#runs.size;
  }

  get queuedCount(): number {
    return this.#backlog.size;
  }

  get unknownFormatCount(): number {
    return this.#unknownFormats;
  }

  /** Digests of the bundles that the runs in memory pin. */
  pinnedDigests(): Set<string> {
    const digests = new Set<string>();
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
    if (from.origin !== undefined && this.#isStale(from.origin, nowMs)) {
      const known = await this.#context.store.read(ref);
      if (known === undefined)
        return untold({
          outcome: 'STALE',
          code: null,
          message: 'the command is too old to be sure that its run was not made before',
        });
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
    const judged = this.#runs.size < this.#maxActiveRuns ? this.#judge(ref, command) : undefined;
    let created = await this.#context.store.create(ref, owner, initial);
    const isStopMarked = created.result === 'stop-marked';
    if (isStopMarked) created = await this.#context.store.create(ref, owner, initial, { ignoreStopMark: true });
    switch (created.result) {
      case 'created': {
        const loaded = { state, record, revision: 1, outboxHead: 1, unsent: [], queued: command };
        if (isStopMarked) this.#stopAtOnce(this.#enter(ref, owner, { ...loaded, queued: undefined }), context);
        else if (judged !== undefined) this.#enter(ref, owner, loaded, judged);
        else this.#backlog.push({ ref, partition: owner.partition, priority: command.priority, createdMs: nowMs });
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
    if (!isFinalStatus(state.status)) await this.#load(ref, owner);
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
    const queue = [...refs];
    const workers = Array.from({ length: Math.min(MAX_CONCURRENT_CLAIMS, queue.length) }, async () => {
      for (let ref = queue.shift(); ref !== undefined; ref = queue.shift()) {
        const next = ref;
        if (!this.#owners.holds(owner)) return;
        if (this.#runs.size >= this.#maxActiveRuns) {
          // What it is worth is in the store; the order of the index, which is that of their STARTs, has to do.
          this.#backlog.push({ ref, partition: owner.partition, priority: 0, createdMs: refs.indexOf(ref) });
          continue;
        }
        await this.#locks.run(runKey(next), async () => {
          if (!this.#runs.has(runKey(next))) await untilAvailable(() => this.#load(next, owner), this.#context);
        });
      }
    });
    await Promise.all(workers);
  }

  /** Claims a run and takes it up. Undefined when there is nothing to take up. */
  async #load(ref: RunRef, owner: Ownership): Promise<ActiveRun | undefined> {
    const { store, log, retentionMs } = this.#context;
    const claim = await store.claim(ref, owner);
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
    return this.#enter(ref, owner, loaded);
  }

  /** @param judged of a queued run whose flow is being checked already */
  #enter(ref: RunRef, owner: Ownership, loaded: LoadedRun, judged?: Promise<RunMessage | undefined>): ActiveRun {
    const { state, record, revision, outboxHead, unsent, queued } = loaded;
    const onGone = (gone: ActiveRun) => this.#leave(gone);
    const run = new ActiveRun({ ref, owner, state, record, revision, outboxHead, context: this.#context, onGone });
    this.#runs.set(run.key, run);
    if (unsent.length > 0 || revision > 1) run.resumeWork(unsent);
    if (queued !== undefined) {
      void (judged ?? this.#judge(ref, queued)).then((message) => message !== undefined && run.post(message));
    }
    return run;
  }

  #leave(run: ActiveRun): void {
    if (this.#runs.get(run.key) === run) this.#runs.delete(run.key);
    if (this.#runs.size < this.#maxActiveRuns) this.#admitNext();
  }

  #admitNext(): void {
    const next = this.#backlog.pop();
    if (next === undefined || this.#context.signal.aborted) return;
    const owner = this.#owners.find(next.partition);
    if (owner === undefined) {
      this.#admitNext();
      return;
    }
    const key = runKey(next.ref);
    void this.#locks
      .run(key, async () => {
        if (!this.#runs.has(key)) await untilAvailable(() => this.#load(next.ref, owner), this.#context);
      })
      .catch((thrown) => this.#context.log.error({ ...next.ref, err: thrown }, 'a queued run could not be loaded'));
  }

  /** What the check of a flow means for its run. Never rejects; undefined when the engine closes. */
  async #judge(ref: RunRef, queued: { steps: unknown; inputs: JsonObject }): Promise<RunMessage | undefined> {
    const { plugins, signal, log, clock, pause } = this.#context;
    const reject = (code: ErrorCode, message: string): RunMessage => {
      return { kind: 'event', event: { type: 'reject', code, message } };
    };
    try {
      const planned = await planStart({ steps: queued.steps, inputs: queued.inputs, plugins, signal, clock, pause });
      if (!planned.ok) return reject(planned.code, describeProblems(planned.problems));
      for (const warning of planned.warnings) log.warn({ ...ref }, warning);
      return { kind: 'planned', definition: planned.definition };
    } catch (thrown) {
      if (signal.aborted) return undefined;
      log.error({ ...ref, err: thrown }, 'planning failed');
      return reject('FLOW_INVALID', `the flow could not be checked: ${messageOf(thrown)}`);
    }
  }

  /** A STOP came before this START: it ends STOPPED without running (design 4.1). */
  #stopAtOnce(run: ActiveRun, context: CommandContext): void {
    const ignore = () => undefined;
    run.post({ kind: 'command', command: { kind: 'STOP', context, answer: ignore, abandon: ignore } });
  }

  #isStale(origin: CommandOrigin, nowMs: number): boolean {
    const keptMs = Math.max(this.#context.retentionMs, MIN_META_RETENTION_MS);
    return nowMs - origin.recordTimeMs > keptMs - STALE_MARGIN_MS;
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
