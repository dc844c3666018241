/**
 * What the engine tells: status events (`execution.status`) and command outcomes (`execution.outcomes`), design 3.2.
 * Existing readers parse `status` into closed enums, so no other value may ever be sent.
 */
import { z } from 'zod';

export const FLOW_STATUSES = ['PENDING', 'RUNNING', 'PAUSED', 'COMPLETED', 'FAILED', 'STOPPED'] as const;
export const STEP_STATUSES = ['PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED'] as const;
export type FlowStatus = (typeof FLOW_STATUSES)[number];
export type StepStatus = (typeof STEP_STATUSES)[number];

const identity = { flowId: z.string(), runId: z.string() };
const told = {
  error: z.string().nullable(),
  /** ISO-8601, UTC. */
  timestamp: z.string(),
};
/** Ours; a tolerant reader ignores them. */
const added = {
  code: z.string().optional(),
  sequence: z.number().int().optional(),
  eventId: z.string().optional(),
};

export const flowStatusSchema = z.object({
  eventType: z.literal('FLOW_STATUS'),
  ...identity,
  status: z.enum(FLOW_STATUSES),
  ...told,
  ...added,
});
export const stepStatusSchema = z.object({
  eventType: z.literal('STEP_STATUS'),
  ...identity,
  stepId: z.string(),
  status: z.enum(STEP_STATUSES),
  ...told,
  ...added,
  attempt: z.number().int().optional(),
  receipt: z.unknown().optional(),
});
export const statusEventSchema = z.discriminatedUnion('eventType', [flowStatusSchema, stepStatusSchema]);

export type FlowStatusEvent = z.output<typeof flowStatusSchema>;
export type StepStatusEvent = z.output<typeof stepStatusSchema>;
export type StatusEvent = FlowStatusEvent | StepStatusEvent;

export const OUTCOMES = ['ACCEPTED', 'DUPLICATE', 'REJECTED', 'STALE'] as const;
export type Outcome = (typeof OUTCOMES)[number];
/** Which way a command came in. */
export type Via = 'kafka' | 'http' | 'cli';

/** One JSON object on `execution.outcomes`, key `flowId:runId`. */
export interface CommandOutcomeEvent {
  readonly eventType: 'COMMAND_OUTCOME';
  readonly command: string;
  readonly flowId: string;
  readonly runId: string;
  readonly outcome: Outcome;
  readonly code: string | null;
  readonly message: string | null;
  readonly triggeredBy: string | null;
  readonly via: Via;
  readonly reason: string | null;
  readonly timestamp: string;
  /** Told once more when the last running step of a paused run has ended. */
  readonly quiescent?: true;
}

/** Key of every message about a run, and the text inside the hash tag of its Redis keys. */
export function runKey(run: { flowId: string; runId: string }): string {
  return `${run.flowId}:${run.runId}`;
}

export function isFinalFlowStatus(status: FlowStatus): boolean {
  return status === 'COMPLETED' || status === 'FAILED' || status === 'STOPPED';
}
