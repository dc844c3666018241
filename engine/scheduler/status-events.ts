/** The status events of a run (design 3.2), from its state: the sequence is the run's own, already raised. Pure. */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { StatusEvent } from '@flowops/proto/statuses.ts';
import type { RunState } from './state.ts';

export type ToldStepStatus = 'RUNNING' | 'COMPLETED' | 'FAILED' | 'CANCELLED' | 'SKIPPED';

export interface ToldOfStep {
  readonly attempt?: number;
  /** Opaque here. */
  readonly receipt?: unknown;
  readonly error?: string;
  readonly code?: ErrorCode;
}

export function flowEvent(run: RunState, status: Exclude<RunState['status'], 'QUEUED'>, nowMs: number): StatusEvent {
  return {
    eventType: 'FLOW_STATUS',
    flowId: run.flowId,
    runId: run.runId,
    status,
    error: run.error,
    timestamp: new Date(nowMs).toISOString(),
    sequence: run.sequence,
    ...(run.code === null ? {} : { code: run.code }),
  };
}

export function stepEvent(
  run: RunState,
  step: number,
  { status, told, nowMs }: { status: ToldStepStatus; told: ToldOfStep; nowMs: number },
): StatusEvent {
  const { error, ...rest } = told;
  return {
    eventType: 'STEP_STATUS',
    flowId: run.flowId,
    runId: run.runId,
    stepId: run.graph.stepIds[step] ?? '',
    status,
    error: error ?? null,
    timestamp: new Date(nowMs).toISOString(),
    sequence: run.sequence,
    ...rest,
  };
}
