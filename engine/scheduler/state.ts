/**
 * The state of one run as the core sees it. What is stored is `status`, `ending`, the counters and the steps that
 * ever changed; the rest (indegrees left, ready queue, running set) is derived, by `restoreRun`, from those and the
 * definition. The core changes a state in place: the cost of an event must not depend on the size of the run.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { FlowStatus } from '@flowops/proto/statuses.ts';
import type { FlowDefinition } from './definition.ts';
import { buildGraph, type Graph } from './graph.ts';

/** Absent from the map = PENDING. */
export type StepState =
  | {
      readonly status: 'RUNNING';
      readonly attempt: number;
      /** How many attempts so far ended by a fault of the infrastructure: they spend their own budget (G9). */
      readonly faults: number;
      /** How many times its sandbox host's process ended under it, and it may have been why (quarantine). */
      readonly crashes: number;
      readonly token: string;
      /** Instance of the sandbox host that was asked to run it. */
      readonly host: string;
      readonly startedAtMs: number;
    }
  | {
      /** Between an infrastructure fault and the next attempt. Readers still see RUNNING. */
      readonly status: 'WAITING';
      readonly attempt: number;
      readonly faults: number;
      readonly crashes: number;
      /** When it may run again; while the run is paused this is what is left, in ms. */
      readonly dueMs: number;
      readonly reason: string;
    }
  | { readonly status: 'COMPLETED'; readonly attempt: number; readonly startedAtMs: number; readonly endedAtMs: number }
  | {
      readonly status: 'FAILED';
      readonly attempt: number;
      readonly code: ErrorCode;
      readonly error: string;
      readonly endedAtMs: number;
    }
  | { readonly status: 'CANCELLED' | 'SKIPPED'; readonly attempt: number; readonly endedAtMs: number };

export type RunStatus = Exclude<FlowStatus, 'PENDING'> | 'QUEUED';

/** Why a run that still has unfinished steps takes no more of them. */
export interface Ending {
  readonly to: 'FAILED' | 'STOPPED';
  readonly error: string | null;
  readonly code: ErrorCode | null;
}

/** An attempt that is over for the run, while code of it may still run somewhere: no end of it was proven (G5). */
export interface UnprovenEnd {
  /** Instance of the sandbox host that had it; empty when it is not known. */
  readonly host: string;
  /** Until then it may run, epoch ms; nothing enforces a longer life. */
  readonly untilMs: number;
}

export interface RunState {
  readonly flowId: string;
  readonly runId: string;
  readonly definition: FlowDefinition;
  readonly graph: Graph;
  status: RunStatus;
  ending: Ending | null;
  /** Number of the last status event told; 0 = none. */
  sequence: number;
  /** Bytes of all outputs so far. */
  outputBytes: number;
  /** A pause whose last running step has ended was told so. */
  isQuiescent: boolean;
  /** Final error, told in the last event. */
  error: string | null;
  code: ErrorCode | null;
  /** By token. While there is one the run is not told as STOPPED, nor a pause as quiet. */
  readonly unproven: Map<string, UnprovenEnd>;

  readonly steps: Map<number, StepState>;
  /** Derived: by step, how many of the steps it waits for have not completed. */
  readonly waitsFor: Int32Array;
  /** Derived: steps that may start, in the order in which they became ready. */
  readonly ready: Set<number>;
  /** Derived: steps that are RUNNING. */
  readonly running: Set<number>;
  /** Derived: steps that are not final. */
  unfinished: number;
  /** Derived: while ending, every step before this index is final or RUNNING. */
  cancelCursor: number;
}

export interface RunIdentity {
  readonly flowId: string;
  readonly runId: string;
}

/** A run that has been accepted and has not begun. */
export function newRun(identity: RunIdentity, definition: FlowDefinition): RunState {
  const graph = buildGraph(definition.steps);
  return {
    flowId: identity.flowId,
    runId: identity.runId,
    definition,
    graph,
    status: 'QUEUED',
    ending: null,
    sequence: 0,
    outputBytes: 0,
    isQuiescent: false,
    error: null,
    code: null,
    unproven: new Map(),
    steps: new Map(),
    waitsFor: Int32Array.from(graph.indegrees),
    ready: new Set(),
    running: new Set(),
    unfinished: graph.size,
    cancelCursor: 0,
  };
}

export type StoredRunState = Pick<
  RunState,
  'status' | 'ending' | 'sequence' | 'outputBytes' | 'isQuiescent' | 'error' | 'code' | 'unproven'
>;

/** Rebuilds a run from what was stored, in O(steps + edges). */
export function restoreRun(
  identity: RunIdentity,
  definition: FlowDefinition,
  stored: StoredRunState,
  steps: ReadonlyMap<string, StepState>,
): RunState {
  const run = Object.assign(newRun(identity, definition), stored);
  for (const [stepId, step] of steps) {
    const index = run.graph.indexOf.get(stepId);
    if (index === undefined) throw new Error(`stored step ${stepId} is not in the definition`);
    run.steps.set(index, step);
    if (step.status === 'RUNNING') run.running.add(index);
    if (isFinalStep(step)) run.unfinished--;
    if (step.status === 'COMPLETED')
      for (const dependent of run.graph.dependents[index] ?? []) lowerWait(run, dependent);
  }
  if (run.status !== 'QUEUED') findReady(run);
  return run;
}

/** Fills the ready queue of a run that begins or was restored. */
export function findReady(run: RunState): void {
  for (let index = 0; index < run.graph.size; index++) {
    if (run.waitsFor[index] === 0 && !run.steps.has(index)) run.ready.add(index);
  }
}

/** One of the steps that `index` waits for has completed. Gives what is left. */
export function lowerWait(run: RunState, index: number): number {
  const left = (run.waitsFor[index] ?? 0) - 1;
  run.waitsFor[index] = left;
  return left;
}

export function isFinalStep(step: StepState): boolean {
  return step.status !== 'RUNNING' && step.status !== 'WAITING';
}

export type FinalStatus = 'COMPLETED' | 'FAILED' | 'STOPPED';

export function isFinalStatus(status: string): status is FinalStatus {
  return status === 'COMPLETED' || status === 'FAILED' || status === 'STOPPED';
}

export function isFinalRun(run: Pick<RunState, 'status'>): boolean {
  return isFinalStatus(run.status);
}
