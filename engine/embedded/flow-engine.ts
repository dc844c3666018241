/**
 * The runs of one process: started, found, taken up and commanded, each under a lock of its own (run-lock.ts), so that
 * several processes and engines share one FLOWOPS_HOME. What happens inside a run is the engine's business (app.ts).
 *
 * Invariant: a run is among `#underWay` from before its partition is opened until it has ended or the engine closes, and
 * its lock is held as long.
 */
import { randomUUID } from 'node:crypto';
import { type Command, readCommand, type StartCommand } from '@flowops/proto/commands.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { runKey } from '@flowops/proto/statuses.ts';
import type { Engine } from '../app.ts';
import { decodeMeta } from '../runs/codec.ts';
import type { CommandAnswer } from '../runs/outcomes.ts';
import { compareStarts, hashOfStart } from '../runs/start-identity.ts';
import type { RunRef, StoredRun } from '../store/run-store.ts';
import type { SqliteHistory } from '../store/sqlite-history.ts';
import type { Flow, FlowEngine, FlowRun, StartOptions } from './api.ts';
import { asFlowopsError } from './as-flowops-error.ts';
import { endOf, makeRun, type RunReading, toldOf } from './flow-run.ts';
import { prepareFlow } from './read-flow.ts';
import type { RunBell } from './run-bell.ts';
import { lockRun, partitionOf, type RunLock } from './run-lock.ts';

/** Each holds a file open for its lock; beyond what an engine keeps in memory they would only wait. */
const MAX_UNDER_WAY = 2_000;

interface UnderWay {
  readonly ref: RunRef;
  readonly partition: string;
  readonly lock: RunLock;
  /** The partition is open. */
  readonly opened: Promise<void>;
  readonly ended: PromiseWithResolvers<void>;
}

export interface LocalEngineParts {
  readonly engine: Engine;
  readonly history: SqliteHistory;
  readonly bell: RunBell;
  /** FLOWOPS_HOME, absolute. */
  readonly home: string;
}

/** Owns its parts: `close` closes them. `hasEnded` has to be called for every run that the engine says has ended. */
export class LocalFlowEngine implements FlowEngine {
  readonly #engine: Engine;
  readonly #history: SqliteHistory;
  readonly #bell: RunBell;
  readonly #home: string;
  readonly #underWay = new Map<string, UnderWay>();
  readonly #abort = new AbortController();
  readonly #reading: RunReading;
  #closing: Promise<void> | undefined;

  constructor({ engine, history, bell, home }: LocalEngineParts) {
    this.#engine = engine;
    this.#history = history;
    this.#bell = bell;
    this.#home = home;
    this.#reading = {
      ...{ history, bell, store: engine.parts.store, closed: this.#abort.signal },
      isUnderWay: (run) => this.#underWay.has(runKey(run)),
      ended: (run, signal) => this.#ended(run, signal),
      command: (run, eventType, reason) => this.#command(run, eventType, reason),
      guard: (work) => this.#guard(work),
    };
  }

  start(flow: Flow, options: StartOptions = {}): Promise<FlowRun> {
    return this.#guard(async () => {
      const { flowId, steps, inputs } = prepareFlow(flow, options.inputs);
      const { runId = randomUUID(), priority = 0 } = options;
      const command = commandOf({ eventType: 'START', flowId, runId, steps, inputs, priority });
      if (command.kind !== 'START') throw new Error('a START was read as something else');
      const ref = { flowId, runId };
      const stored = await this.#engine.parts.store.read(ref);
      if (stored !== undefined) refuseAnother(stored, hashOfStart(steps, inputs));
      if (endOf(stored) !== undefined) return this.#open(ref, stored);
      return this.#begin(command, stored);
    });
  }

  run(runId: string, options: { readonly flowId?: string } = {}): Promise<FlowRun> {
    return this.#guard(async () => {
      const ref = this.#find(runId, options.flowId);
      const stored = ref && (await this.#engine.parts.store.read(ref));
      if (ref === undefined || stored === undefined) {
        throw new FlowopsError('RUN_UNKNOWN', `no run ${runId} is known in ${this.#home}`);
      }
      if (!this.#underWay.has(runKey(ref)) && endOf(stored) === undefined) {
        lockRun(this.#home, ref).release();
        throw new FlowopsError(
          'COMMAND_INVALID',
          `run ${runId} was interrupted; engine.resume('${runId}') takes it up`,
        );
      }
      return this.#open(ref, stored);
    });
  }

  resume(runId: string): Promise<FlowRun> {
    return this.#guard(async () => {
      const unfinished = this.#history.unfinishedRuns().find((run) => run.runId === runId);
      const ref = unfinished ?? this.#find(runId, undefined);
      const stored = ref && (await this.#engine.parts.store.read(ref));
      const left = `no run ${runId} was left unfinished in ${this.#home}`;
      if (ref === undefined || stored === undefined) throw new FlowopsError('RUN_UNKNOWN', left);
      const end = endOf(stored);
      if (end !== undefined && unfinished === undefined) {
        throw new FlowopsError('RUN_FINAL', `${left}: it has ended ${end.status}`);
      }
      await this.#take(ref, stored).opened;
      return this.#open(ref, stored);
    });
  }

  interruptedRuns(): Promise<readonly RunRef[]> {
    return this.#guard(async () => this.#history.unfinishedRuns().filter((run) => !this.#underWay.has(runKey(run))));
  }

  /** Digests of the bundles that unfinished runs of this engine pin. */
  pinnedDigests(): ReadonlySet<string> {
    return this.#engine.runs.pinnedDigests();
  }

  /** Idempotent, also for a run that is not under way. */
  hasEnded(ref: RunRef): void {
    const run = this.#underWay.get(runKey(ref));
    if (run === undefined) return;
    this.#underWay.delete(runKey(ref));
    run.lock.release();
    run.ended.resolve();
    this.#bell.ring(runKey(ref));
    // Nothing of it is written any more. A store that fails now is told to whoever asks it next.
    if (!this.#abort.signal.aborted) this.#engine.runs.closePartition(run.partition).catch(() => undefined);
  }

  close({ drainMs = 0 }: { readonly drainMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(drainMs: number): Promise<void> {
    if (drainMs > 0) await this.#engine.drain(drainMs);
    this.#abort.abort(closed());
    await this.#engine.close();
    this.#history.close();
    for (const { lock } of this.#underWay.values()) lock.release();
    this.#underWay.clear();
  }

  async #begin(command: StartCommand, stored: StoredRun | undefined): Promise<FlowRun> {
    const { store } = this.#engine.parts;
    const ref = { flowId: command.flowId, runId: command.runId };
    const isNew = !this.#underWay.has(runKey(ref));
    const run = this.#take(ref, stored);
    try {
      await run.opened;
      const answer = await this.#engine.runs.handle(command, 'cli', run);
      if (answer.outcome === 'ACCEPTED') return this.#open(ref, stored);
      if (answer.outcome === 'REJECTED') throw refusal(answer);
    } catch (thrown) {
      if (isNew && this.#engine.runs.active(ref) === undefined) this.hasEnded(ref);
      // One that a start beside this one made may have ended under it.
      if (endOf(await store.read(ref)) === undefined) throw thrown;
    }
    const known = await store.read(ref);
    if (known !== undefined && endOf(known) !== undefined) {
      refuseAnother(known, hashOfStart(command.steps, command.inputs));
      if (this.#engine.runs.active(ref) === undefined) this.hasEnded(ref);
    }
    return this.#open(ref, stored ?? known);
  }

  #open(ref: RunRef, stored: StoredRun | undefined): FlowRun {
    return makeRun(ref, stored === undefined ? 0 : toldOf(stored), this.#reading);
  }

  /** The run is this engine's from here on. @throws FlowopsError RUN_EXISTS when another has it */
  #take(ref: RunRef, stored: StoredRun | undefined): UnderWay {
    const known = this.#underWay.get(runKey(ref));
    if (known !== undefined) return known;
    if (this.#closing !== undefined) throw closed();
    if (this.#underWay.size >= MAX_UNDER_WAY) {
      throw new FlowopsError(
        'SANDBOX_UNAVAILABLE',
        `${MAX_UNDER_WAY} runs are under way; start it when some have ended`,
      );
    }
    const lock = lockRun(this.#home, ref);
    const partition = stored?.meta.partition ?? partitionOf(ref);
    const ended = Promise.withResolvers<void>();
    const opened = this.#engine.runs.openPartition(partition);
    opened.catch(() => this.hasEnded(ref));
    const run = { ref, partition, lock, opened, ended };
    this.#underWay.set(runKey(ref), run);
    return run;
  }

  #find(runId: string, flowId: string | undefined): RunRef | undefined {
    const named = this.#history.runsNamed(runId);
    const [found, another] = flowId === undefined ? named : named.filter((run) => run.flowId === flowId);
    if (another === undefined) return found;
    const flows = named.map((run) => run.flowId).join(', ');
    throw new FlowopsError('COMMAND_INVALID', `several flows have a run ${runId}: ${flows}; say which with { flowId }`);
  }

  async #ended(ref: RunRef, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const run = this.#underWay.get(runKey(ref));
    if (run === undefined) return;
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    await Promise.race([run.ended.promise, promise]).finally(() => signal.removeEventListener('abort', onAbort));
  }

  async #command(ref: RunRef, eventType: 'PAUSE' | 'RESUME' | 'STOP', reason: string | undefined): Promise<void> {
    const command = commandOf({ eventType, ...ref, ...(reason === undefined ? {} : { reason }) });
    const run = this.#underWay.get(runKey(ref));
    if (run === undefined) return hasEndedBefore(ref, eventType);
    const answer = await this.#engine.runs.handle(command, 'cli', run).catch((thrown: unknown) => {
      if (this.#underWay.has(runKey(ref)) || this.#abort.signal.aborted) throw thrown;
      return undefined; // it ended under the command
    });
    if (answer !== undefined && answer.outcome !== 'REJECTED') return;
    if (answer === undefined || answer.code === 'RUN_FINAL') return hasEndedBefore(ref, eventType);
    throw refusal(answer);
  }

  /** What goes wrong is a FlowopsError: CANCELLED once the engine is closed. */
  async #guard<T>(work: () => Promise<T>): Promise<T> {
    this.#abort.signal.throwIfAborted();
    try {
      return await work();
    } catch (thrown) {
      this.#abort.signal.throwIfAborted();
      throw asFlowopsError(thrown);
    }
  }
}

function refusal({ code, message }: CommandAnswer): FlowopsError {
  return new FlowopsError(code ?? 'COMMAND_INVALID', message ?? 'the command was refused');
}

function closed(): FlowopsError {
  return new FlowopsError('CANCELLED', 'the engine was closed; a run that had not ended is taken up by resume');
}

/** A stop has what it wanted. */
function hasEndedBefore({ runId }: RunRef, eventType: 'PAUSE' | 'RESUME' | 'STOP'): void {
  if (eventType !== 'STOP') throw new FlowopsError('RUN_FINAL', `run ${runId} has ended`);
}

/** Before anything of the run is touched: taking it up for a wrong start would run it. */
function refuseAnother(stored: StoredRun, startHash: string): void {
  const answer = compareStarts(decodeMeta(stored.meta).record.startHash, startHash);
  if (answer.outcome === 'REJECTED') throw new FlowopsError('RUN_EXISTS', answer.message ?? 'the run exists');
}

/** @throws FlowopsError COMMAND_INVALID */
function commandOf(value: JsonObject): Command {
  const read = readCommand(value);
  if (!read.ok) throw new FlowopsError('COMMAND_INVALID', read.problem);
  return read.command;
}
