/**
 * The engine inside a process, without services: SQLite in FLOWOPS_HOME, events in-process, a sandbox host of its own.
 * `flowops run` is written on this and on nothing else.
 *
 * Every run has a partition and a lock of its own, so that several processes share one FLOWOPS_HOME; a run whose
 * process died is listed by `interruptedRuns` and taken up by `resume`.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { LogLine } from '@flowops/proto/attempt.ts';
import { readCommand } from '@flowops/proto/commands.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { Json, JsonObject } from '@flowops/proto/json.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { runKey, type StatusEvent, statusEventSchema } from '@flowops/proto/statuses.ts';
import { type Engine, startEngine } from './app.ts';
import { EventLog, type RunEvents } from './event-log.ts';
import type { Log } from './log.ts';
import { LocalPublisher } from './publishing/local-publisher.ts';
import { decodeMeta } from './runs/codec.ts';
import type { OpenedHost } from './sandbox-client/engine-sandboxes.ts';
import { LocalSandboxes } from './sandbox-client/local-sandboxes.ts';
import { type FinalStatus, isFinalStatus } from './scheduler/state.ts';
import { type HomeLock, lockHome } from './store/home-lock.ts';
import type { RunRef, RunStore, StateFormat } from './store/run-store.ts';
import { STORE_FILE } from './store/sqlite-schema.ts';
import { openSqliteStore } from './store/sqlite-store.ts';

export interface EmbeddedOptions {
  /** FLOWOPS_HOME; made when it is not there. */
  readonly home: string;
  /** Closed with the engine. A function is given the sandbox host in which a source is evaluated. */
  readonly plugins: PluginSource | ((sandbox: () => Promise<OpenedHost>) => Promise<PluginSource>);
  /** Of the sandbox host: `developer`, or a policy file; absent: strict. */
  readonly policy?: { readonly kind: 'developer' } | { readonly kind: 'file'; readonly file: string };
  /** Stand in for the folder SECRETS_DIR. */
  readonly secrets?: ReadonlyMap<string, string>;
  readonly log: Log;
  /** Settings for the sandbox host (SANDBOX_WORKERS, SECRETS_DIR, …). */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly retentionMs?: number;
  /** STATE_FORMAT: in which new runs are written. */
  readonly stateFormat?: StateFormat;
  readonly stopGraceMs?: number;
  /** The sandbox host's own log, JSON lines; absent: this process's stderr. */
  readonly onHostLog?: (text: string) => void;
  readonly onStepLog?: (run: RunRef, stepId: string, line: LogLine) => void;
  readonly onStepProgress?: (run: RunRef, stepId: string, progress: { fraction: number; message: string }) => void;
}

export interface RunResult {
  readonly runId: string;
  readonly status: FinalStatus;
  /** stepId → output key → value, of every step that completed. */
  readonly outputs: Readonly<Record<string, JsonObject>>;
  readonly error: string | null;
  readonly code: string | null;
}

export interface EmbeddedRun {
  readonly flowId: string;
  readonly runId: string;
  /** Status events from sequence `from` (default 1) until the final one. */
  events(from?: number): AsyncIterable<StatusEvent>;
  result(): Promise<RunResult>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  stop(reason?: string): Promise<void>;
}

export interface StartOptions {
  readonly inputs?: JsonObject;
  readonly runId?: string;
  readonly priority?: number;
}

export interface EmbeddedEngine {
  /** @throws FlowopsError COMMAND_INVALID for ids that cannot be, RUN_EXISTS when the run exists with another flow. */
  start(flow: { flowId: string; steps: Json }, options?: StartOptions): Promise<EmbeddedRun>;
  /** Takes up a run that a process left unfinished. @throws FlowopsError RUN_UNKNOWN, RUN_EXISTS when it is alive. */
  resume(runId: string): Promise<EmbeddedRun>;
  interruptedRuns(): Promise<readonly RunRef[]>;
  close(): Promise<void>;
}

const PARTITION_PREFIX = 'run-';
const DEFAULT_RETENTION_MS = 7 * 24 * 60 * 60 * 1000;
const DEFAULT_STOP_GRACE_MS = 2_000;

export async function createEngine(options: EmbeddedOptions): Promise<EmbeddedEngine> {
  const home = resolve(options.home);
  const publisher = new LocalPublisher(options.log);
  const events = new EventLog();
  publisher.subscribe({ onEvents: (run, texts) => events.add(runKey(run), texts.map(readEvent)) });
  // The host's start takes longest: everything else happens meanwhile.
  const sandboxes = LocalSandboxes.start({
    role: 'engine',
    instance: `embedded-${process.pid}`,
    home,
    env: { ...process.env, ...options.env },
    log: options.log,
    ...(options.policy === undefined ? {} : { policy: options.policy }),
    ...(options.secrets === undefined ? {} : { secrets: options.secrets }),
    ...(options.onHostLog === undefined ? {} : { onLog: options.onHostLog }),
  });
  sandboxes.catch(() => undefined); // awaited below; a store that fails first must not leave it unhandled
  let store: RunStore | undefined;
  let plugins: PluginSource | undefined;
  try {
    plugins =
      typeof options.plugins === 'function'
        ? await options.plugins(async () => (await sandboxes).opened())
        : options.plugins;
    const { stateFormat: format } = options;
    store = openSqliteStore({ file: join(home, STORE_FILE), ...(format === undefined ? {} : { format }) });
    const engine = await startEngine({
      store,
      publisher,
      plugins,
      sandboxes: await sandboxes,
      log: options.log,
      retentionMs: options.retentionMs ?? DEFAULT_RETENTION_MS,
      stopGraceMs: options.stopGraceMs ?? DEFAULT_STOP_GRACE_MS,
      ...(options.onStepLog === undefined ? {} : { onStepLog: options.onStepLog }),
      ...(options.onStepProgress === undefined ? {} : { onStepProgress: options.onStepProgress }),
    });
    return new Embedded(engine, events, home);
  } catch (thrown) {
    await sandboxes.then((started) => started.close()).catch(() => undefined);
    await plugins?.close();
    await store?.close();
    throw thrown;
  }
}

class Embedded implements EmbeddedEngine {
  readonly #engine: Engine;
  readonly #events: EventLog;
  readonly #home: string;
  readonly #locks = new Map<string, HomeLock>();

  constructor(engine: Engine, events: EventLog, home: string) {
    this.#engine = engine;
    this.#events = events;
    this.#home = home;
  }

  async start(flow: { flowId: string; steps: Json }, options: StartOptions = {}): Promise<EmbeddedRun> {
    const runId = options.runId ?? randomUUID();
    const { inputs = {}, priority = 0 } = options;
    const read = readCommand({ eventType: 'START', flowId: flow.flowId, runId, steps: flow.steps, inputs, priority });
    if (!read.ok) throw new FlowopsError('COMMAND_INVALID', read.problem);
    const ref = { flowId: flow.flowId, runId };
    this.#lock(ref);
    const events = this.#events.open(runKey(ref));
    const partition = partitionOf(ref);
    await this.#engine.runs.openPartition(partition);
    const answer = await this.#engine.runs.handle(read.command, 'cli', { partition });
    if (answer.outcome === 'REJECTED') {
      this.#unlock(ref);
      throw new FlowopsError(answer.code ?? 'COMMAND_INVALID', answer.message ?? 'the run was refused');
    }
    if (answer.outcome === 'DUPLICATE' && (await this.#storedEnd(ref)) !== undefined) events.close();
    return this.#follow(ref, events);
  }

  async resume(runId: string): Promise<EmbeddedRun> {
    const ref = (await this.interruptedRuns()).find((run) => run.runId === runId);
    if (ref === undefined)
      throw new FlowopsError('RUN_UNKNOWN', `no run ${runId} was left unfinished in ${this.#home}`);
    this.#lock(ref);
    const events = this.#events.open(runKey(ref));
    await this.#engine.runs.openPartition(partitionOf(ref));
    return this.#follow(ref, events);
  }

  async interruptedRuns(): Promise<readonly RunRef[]> {
    const { store } = this.#engine.parts;
    const partitions = (await store.partitions()).filter((name) => name.startsWith(PARTITION_PREFIX));
    return (await Promise.all(partitions.map((name) => store.activeRuns(name)))).flat();
  }

  async close(): Promise<void> {
    await this.#engine.close();
    for (const lock of this.#locks.values()) lock.release();
    this.#locks.clear();
  }

  #follow(ref: RunRef, events: RunEvents): EmbeddedRun {
    const command = (eventType: string, reason?: string) => this.#command(ref, eventType, reason);
    return {
      ...ref,
      events: (from = 1) => events.follow(from),
      result: () => this.#result(ref, events),
      pause: () => command('PAUSE'),
      resume: () => command('RESUME'),
      stop: (reason) => command('STOP', reason),
    };
  }

  async #command(ref: RunRef, eventType: string, reason?: string): Promise<void> {
    const read = readCommand({ eventType, ...ref, ...(reason === undefined ? {} : { reason }) });
    if (!read.ok) throw new FlowopsError('COMMAND_INVALID', read.problem);
    const answer = await this.#engine.runs.handle(read.command, 'cli', { partition: partitionOf(ref) });
    if (answer.outcome === 'REJECTED' && answer.code !== 'RUN_FINAL') {
      throw new FlowopsError(answer.code ?? 'COMMAND_INVALID', answer.message ?? 'the command was refused');
    }
  }

  async #result(ref: RunRef, events: RunEvents): Promise<RunResult> {
    const { store } = this.#engine.parts;
    const { status, error, code } = (await this.#storedEnd(ref)) ?? (await events.ended());
    this.#unlock(ref);
    if (!isFinalStatus(status)) throw new Error(`a run ended with ${status}`);
    const outputs = groupOutputs(await store.readAllOutputs(ref));
    return { runId: ref.runId, status, outputs, error, code: code ?? null };
  }

  /** How a run ended that had ended before it was started again. */
  async #storedEnd(ref: RunRef) {
    const stored = await this.#engine.parts.store.read(ref);
    const known = stored === undefined ? undefined : decodeMeta(stored.meta).state;
    return known !== undefined && isFinalStatus(known.status) ? known : undefined;
  }

  #lock(ref: RunRef): void {
    const locked = lockHome(this.#lockFolder(ref));
    if (locked.result === 'taken') {
      const who = locked.owner === undefined ? 'another process' : `process ${locked.owner.pid}`;
      throw new FlowopsError('RUN_EXISTS', `run ${ref.runId} is being run by ${who}`);
    }
    this.#locks.set(runKey(ref), locked.lock);
  }

  #unlock(ref: RunRef): void {
    this.#locks.get(runKey(ref))?.release();
    this.#locks.delete(runKey(ref));
    rmSync(this.#lockFolder(ref), { recursive: true, force: true });
  }

  #lockFolder(ref: RunRef): string {
    return join(this.#home, 'running', runKey(ref));
  }
}

function partitionOf(ref: RunRef): string {
  return `${PARTITION_PREFIX}${ref.flowId}.${ref.runId}`;
}

function readEvent(text: string): StatusEvent {
  return statusEventSchema.parse(JSON.parse(text));
}

/** From `stepId.key` → JSON text to stepId → key → value. A stepId has no dot. */
function groupOutputs(outputs: ReadonlyMap<string, string>): Record<string, JsonObject> {
  const grouped: Record<string, JsonObject> = {};
  for (const [name, text] of outputs) {
    const dot = name.indexOf('.');
    const stepId = name.slice(0, dot);
    grouped[stepId] ??= {};
    grouped[stepId][name.slice(dot + 1)] = JSON.parse(text) as Json; // written by readAttemptEnd
  }
  return grouped;
}
