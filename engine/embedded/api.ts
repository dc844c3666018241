/**
 * The engine as a library (`@flowops/cli/engine`): what a program gives, gets and may call. Everything here is public;
 * docs/library.md tells it with examples. `create-engine.ts` makes one.
 */
import type { LogLine } from '@flowops/proto/attempt.ts';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import type { ValueType } from '@flowops/proto/manifest.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import type { FlowStatus, StatusEvent } from '@flowops/proto/statuses.ts';
import type { Log } from '../log.ts';
import type { FinalStatus } from '../scheduler/state.ts';
import type { RunRef } from '../store/run-store.ts';
import type { EngineSettings } from './engine-settings.ts';

export interface EngineOptions {
  /** A folder for the runs, the bundle cache and sockets; made when it is not there. Several processes may share it. */
  readonly home: string;
  /** A folder of plugins (sources, bundles, or laid out as a registry), a registry's `host:port`, or a source of your own. */
  readonly plugins: string | { readonly registry: string } | PluginSource;
  /**
   * The sandbox policy: a file, or `developer`, which runs the plugins of your own folder in the isolate tier and grants
   * what each manifest asks for. Absent: strict, nothing is granted and unsigned plugins run in containers.
   */
  readonly policy?: string;
  /** Secrets by name, instead of a folder (SECRETS_DIR). Only the sandbox host has them. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** Other settings, by their names in docs/settings.md. Those of the process's environment are not read. */
  readonly settings?: EngineSettings;
  /** The engine's own log, as pino has it. Absent: warnings and errors, as lines on stderr. */
  readonly log?: Log;
  /** What plugins log, as it comes. Absent: to `log`, at debug. */
  readonly onStepLog?: (line: StepLogLine) => void;
  readonly onStepProgress?: (progress: StepProgress) => void;
  /** Each attempt that failed, also one that is tried again. */
  readonly onStepError?: (error: StepError) => void;
}

export interface StepLogLine extends RunRef, LogLine {
  readonly stepId: string;
}

export interface StepProgress extends RunRef {
  readonly stepId: string;
  /** From 0 to 1. */
  readonly fraction: number;
  readonly message: string;
}

export interface StepError extends RunRef {
  readonly stepId: string;
  /** One of docs/errors.md. */
  readonly code: ErrorCode;
  readonly message: string;
  /**
   * Where in the plugin's own files, as lines for a terminal: at most 10 places, with the code around the first when the
   * plugin was built from sources here. Empty when nothing tells. Never rejects.
   */
  frames(): Promise<string>;
}

/** A flow as a file has it (docs: `flowops validate` checks one). */
export interface Flow {
  /** 1 to 128 characters of A-Z a-z 0-9 . _ - */
  readonly flowId: string;
  /** What a run is given: `${flow.input.NAME}` in a step's inputs. */
  readonly inputs?: Readonly<Record<string, FlowInput>>;
  readonly steps: readonly FlowStep[];
}

export interface FlowInput {
  readonly type: ValueType;
  /** Default: true. */
  readonly required?: boolean;
  readonly default?: unknown;
  readonly description?: string;
}

export interface FlowStep {
  readonly stepId: string;
  readonly pluginId: string;
  /** An exact version or `sha256:…`; absent: the latest when the run starts. */
  readonly pluginVersion?: string;
  /** Any JSON; `${stepId.output}` refers to what another step gave. */
  readonly inputs?: Readonly<Record<string, unknown>>;
  /** Steps that come before this one without giving it anything. */
  readonly dependsOn?: readonly string[];
  readonly config?: { readonly timeoutMs?: number; readonly retryCount?: number; readonly retryDelayMs?: number };
}

export interface StartOptions {
  /** By the names that the flow declares; text is read by the declared type. */
  readonly inputs?: Readonly<Record<string, unknown>>;
  /** Names the run: a second start of the same flow with the same id gives the same run. Absent: a new UUID. */
  readonly runId?: string;
  /** Of the runs that wait for a place those with a higher one go first. Default 0. */
  readonly priority?: number;
}

export interface FlowEngine extends AsyncDisposable {
  /**
   * Starts a run and resolves when it is durable: from then on it survives the process (`resume`). What only the plugins
   * can tell (an unknown one, an input of the wrong type) ends the run FAILED with FLOW_INVALID.
   * @throws FlowopsError FLOW_INVALID and INPUT_INVALID with every problem; COMMAND_INVALID for ids that cannot be;
   *   RUN_EXISTS when a run of this id has another flow or other inputs, or another process runs it
   */
  start(flow: Flow, options?: StartOptions): Promise<FlowRun>;
  /**
   * A run of this engine, or one that has ended, by any process of this home.
   * @throws FlowopsError RUN_UNKNOWN; RUN_EXISTS when another process runs it; COMMAND_INVALID when it was interrupted
   *   (`resume` takes it up), or when several flows have a run of this id and `flowId` is not given
   */
  run(runId: string, options?: { readonly flowId?: string }): Promise<FlowRun>;
  /**
   * Takes up a run that a process left unfinished. Steps that completed are not run again.
   * @throws FlowopsError RUN_UNKNOWN; RUN_FINAL when it has ended; RUN_EXISTS when another process runs it
   */
  resume(runId: string): Promise<FlowRun>;
  /** Runs of this home that have not ended and that this engine does not run; another process may. Oldest first. */
  interruptedRuns(): Promise<readonly RunRef[]>;
  /**
   * Ends the engine and its sandbox. Runs that have not ended stay as they are and can be taken up; whoever waits for one
   * gets CANCELLED. With `drainMs` steps that run may finish for so long first. Idempotent.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

export interface EventsOptions {
  /** The first sequence wanted. Default 1: from the beginning. */
  readonly from?: number;
  readonly signal?: AbortSignal;
}

export interface FlowRun extends RunRef {
  /** Sequence of the last event that is known to have been told before, to whomever; 0 for a new run. */
  readonly toldBefore: number;
  /** PENDING until the flow was checked and has begun. */
  status(): Promise<FlowStatus>;
  /**
   * The status events in order, without gaps, up to the final one: those that were, then those that come. They are kept
   * as long as the run (RUN_RETENTION), so that whoever lost touch goes on from the sequence after the last one seen.
   * @throws FlowopsError CANCELLED when the engine is closed before the run has ended
   */
  events(options?: EventsOptions): AsyncIterable<StatusEvent>;
  /**
   * How the run ended, when it has. A run that failed resolves too.
   * @throws FlowopsError CANCELLED when the engine is closed before the run has ended
   */
  result(options?: { readonly signal?: AbortSignal }): Promise<RunResult>;
  /** No new step starts; running ones finish. @throws FlowopsError RUN_FINAL */
  pause(): Promise<void>;
  /** Goes on after a pause. @throws FlowopsError RUN_FINAL */
  resume(): Promise<void>;
  /** Resolves when it is durable that the run will end; STOPPED is told when no code of it runs any more. */
  stop(reason?: string): Promise<void>;
}

export interface RunResult {
  readonly runId: string;
  readonly status: FinalStatus;
  /** stepId → output → value, of every step that completed. */
  readonly outputs: Readonly<Record<string, JsonObject>>;
  readonly error: string | null;
  /** One of docs/errors.md. */
  readonly code: ErrorCode | null;
}
