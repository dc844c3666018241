/**
 * The composition root: joins the parts into a running engine. What the folders hold:
 *
 *   scheduler/       the deterministic core: what an event means for a run
 *   runs/            runs in memory: commands, turns, commits, admission, timers, recovery
 *   store/           run state on Redis or SQLite behind one interface
 *   commands/        commands from Kafka, offsets, dead letters
 *   publishing/      status events and outcomes to Kafka, or in-process
 *   plugins/         the plugin service's client and the bundle cache
 *   sandbox-client/  the sandbox hosts this engine uses
 *   http/            health
 *   embedded/        the engine as a library: what `@flowops/cli/engine` offers, and `flowops run` is written on
 *   cli/             the commands run, engine, validate, config, backup
 *   base/            time, locks and bounds that all of these use; knows none of them
 *
 * `embedded/` (SQLite, in-process) and `service.ts` (Redis, Kafka) choose the parts.
 */
import { randomBytes } from 'node:crypto';
import type { LogLine } from '@flowops/proto/attempt.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { ByteBudget, MAX_HELD_RESULT_BYTES, MAX_KEPT_COMMIT_BYTES } from './base/byte-budget.ts';
import { type Clock, StoreClock } from './base/clock.ts';
import { type Pause, pause } from './base/pause.ts';
import { ALWAYS_GOOD, type Standing } from './base/standing.ts';
import { type TimerQueue, Timers } from './base/timers.ts';
import type { Log } from './log.ts';
import { RecentSignatures } from './plugins/recent-signatures.ts';
import type { Publisher } from './publishing/publisher.ts';
import { Admission, capacityOf } from './runs/admission.ts';
import { Quarantine } from './runs/quarantine.ts';
import type { StepFailure } from './runs/run-context.ts';
import { RunService } from './runs/run-service.ts';
import type { Sandboxes } from './sandbox-client/sandboxes.ts';
import type { RunRef, RunStore } from './store/run-store.ts';

/** SANDBOX_LEASE_MS's own default. */
const DEFAULT_LEASE_MS = 15_000;
/** How often it is looked whether the partitions held are still ours, should nothing be written to them. */
const CHECK_OWNERSHIP_MS = 10_000;
/** How long a closing engine waits until the ends of its own hosts' attempts are proven and noted for the next owner. */
const LET_GO_MS = 5_000;

/** Time as the runs see it. Absent: the store's clock and real timers. */
export interface EngineTime {
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly pause: Pause;
}

export interface EngineParts {
  readonly store: RunStore;
  readonly publisher: Publisher;
  readonly plugins: PluginSource;
  readonly sandboxes: Sandboxes;
  readonly log: Log;
  readonly retentionMs: number;
  readonly stopGraceMs: number;
  /** After this long without a word from its engine a sandbox host has ended an attempt. */
  readonly leaseMs?: number;
  /** Absent: nobody else can hold its runs. */
  readonly standing?: Standing;
  /** Whoever gives it closes it. */
  readonly time?: EngineTime;
  /** 128 random bits as 32 hex digits; absent: from the system's source. */
  readonly newToken?: () => string;
  readonly onStepLog?: (run: RunRef, stepId: string, line: LogLine) => void;
  readonly onStepProgress?: (run: RunRef, stepId: string, progress: { fraction: number; message: string }) => void;
  readonly onStepFailed?: (run: RunRef, stepId: string, failure: StepFailure) => void;
  readonly onRunEnded?: (run: RunRef) => void;
}

export interface Engine {
  readonly runs: RunService;
  readonly parts: EngineParts;
  /** Starts no step more; resolves when those that run have finished and all is told, or after `drainMs`. */
  drain(drainMs: number): Promise<void>;
  /** Leaves unfinished runs as they are in the store and closes every part. Idempotent. */
  close(): Promise<void>;
}

/** Owns the parts from here on: `close` closes them. */
export async function startEngine(parts: EngineParts): Promise<Engine> {
  const { store, sandboxes, publisher, log } = parts;
  const plugins = new RecentSignatures(parts.plugins);
  const abort = new AbortController();
  const time = parts.time === undefined ? await startTime(store) : { ...parts.time, close: () => undefined };
  let isDraining = false;
  const standing = parts.standing ?? ALWAYS_GOOD;
  const admission = new Admission(() => (isDraining ? 0 : capacityOf(sandboxes, standing)));
  const runs = new RunService({
    store,
    publisher,
    plugins,
    sandboxes,
    admission,
    standing,
    quarantine: new Quarantine(),
    resultBytes: new ByteBudget(MAX_HELD_RESULT_BYTES),
    keptBytes: new ByteBudget(MAX_KEPT_COMMIT_BYTES),
    leaseMs: parts.leaseMs ?? DEFAULT_LEASE_MS,
    timers: time.timers,
    clock: time.clock,
    pause: time.pause,
    log,
    newToken: parts.newToken ?? (() => randomBytes(16).toString('hex')),
    retentionMs: parts.retentionMs,
    stopGraceMs: parts.stopGraceMs,
    onStepLog: parts.onStepLog ?? logStepLine(log),
    onStepProgress: parts.onStepProgress ?? (() => undefined),
    ...(parts.onStepFailed === undefined ? {} : { onStepFailed: parts.onStepFailed }),
    ...(parts.onRunEnded === undefined ? {} : { onRunEnded: parts.onRunEnded }),
    signal: abort.signal,
  });
  const checkLater = () => {
    time.timers.arm(time.clock.nowMs() + CHECK_OWNERSHIP_MS, () => {
      if (abort.signal.aborted) return;
      void runs.checkOwnership().then(checkLater);
    });
  };
  checkLater();
  let closing: Promise<void> | undefined;
  const drain = (drainMs: number) => {
    isDraining = true;
    return runs.drain(drainMs);
  };
  const close = async () => {
    isDraining = true;
    await runs.letGoOfAll(LET_GO_MS);
    abort.abort();
    time.close();
    await sandboxes.close();
    await publisher.close();
    await plugins.close();
    await store.close();
  };
  return { runs, parts, drain, close: () => (closing ??= close()) };
}

async function startTime(store: RunStore): Promise<EngineTime & { close(): void }> {
  const clock = await StoreClock.start(() => store.clock());
  const timers = new Timers(clock);
  const close = () => {
    timers.close();
    clock.close();
  };
  return { clock, timers, pause, close };
}

/** A plugin's lines go to the engine's log at debug. */
function logStepLine(log: Log): (run: RunRef, stepId: string, line: LogLine) => void {
  return (run, stepId, line) => log.debug({ ...run, stepId, level: line.level, fields: line.fields }, line.message);
}
