/**
 * What a scenario leaves behind for the checker: the runs that were started, the status topic as a reader got it, and
 * what the plugins themselves told a log beside it. Nothing of the engine's own state or log.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { FlowStatus } from '@flowops/proto/statuses.ts';

export interface SentStep {
  readonly stepId: string;
  /** The steps whose outputs it takes. */
  readonly after: readonly string[];
  /** The text that it must be given. */
  readonly input: string;
}

/** A run whose START the broker acknowledged: from then on the promises hold for it. */
export interface SentRun {
  readonly flowId: string;
  readonly runId: string;
  readonly steps: readonly SentStep[];
  /** The ends that what was sent allows. */
  readonly mayEnd: readonly FlowStatus[];
}

/** A record of the status topic; in the order of their offsets within a partition. */
export interface StatusRecord {
  readonly partition: number;
  readonly offset: number;
  readonly key: string | null;
  readonly value: string | null;
}

export const EFFECT_PHASES = ['began', 'beat', 'ended'] as const;

/** One line of a plugin's own log. */
export interface Effect {
  /** Its idempotency key: flowId/runId/stepId. */
  readonly key: string;
  /** Made anew each time the code runs. */
  readonly life: string;
  readonly attempt: number;
  readonly phase: (typeof EFFECT_PHASES)[number];
  /** The text that the step was given. */
  readonly input: string;
  /** When the plugin said so, by its own clock, epoch ms: delays on the way do not count. */
  readonly atMs: number;
}

/** What the faults of a scenario excuse. */
export interface Allowance {
  /** Codes with which a step may fail because of them. */
  readonly codes: readonly ErrorCode[];
  /**
   * A step may be started anew, as another attempt, as long as nothing tells that it has ended. Within an attempt its host
   * may run it again wherever its sandbox died.
   */
  readonly reruns: boolean;
  /** Its sandbox may be out of reach while the step runs elsewhere. */
  readonly overlaps: boolean;
}

export const NOTHING_ALLOWED: Allowance = { codes: [], reruns: false, overlaps: false };

export interface Observation {
  readonly runs: readonly SentRun[];
  readonly records: readonly StatusRecord[];
  readonly effects: readonly Effect[];
  readonly allowance: Allowance;
}

export const VIOLATION_KINDS = [
  /** A record of the status topic that is no status event. */
  'unreadable',
  /** An event or effect that nobody asked for, or under another key or on another partition than the run's. */
  'foreign',
  /** A first copy before the one it follows. */
  'gap',
  /** A repeat that says something else than the first copy. */
  'altered',
  /** An accepted run without an end. */
  'no-end',
  /** A first copy after a final event. */
  'after-end',
  /** An end, or a failed step, that nothing of what was sent or broken explains. */
  'wrong-end',
  /** An event that cannot follow those before it: completed twice, started while paused or before its inputs. */
  'order',
  /** A step was told as completed, but its code did not come to its end. */
  'never-ran',
  /** Code ran that no event had announced. */
  'ran-untold',
  /** Code of a step ran after its completion. */
  'ran-again',
  /** Code of a run ran after its final event. */
  'ran-after-end',
  /** The same step ran twice at one time. */
  'double-run',
  /** A step was started anew where nothing that happened explains it. */
  'reran',
  /** A step was given something else than its predecessors' outputs. */
  'wrong-input',
] as const;
export type ViolationKind = (typeof VIOLATION_KINDS)[number];

export interface Violation {
  readonly kind: ViolationKind;
  /** `flowId:runId`, where one is known. */
  readonly run: string;
  readonly detail: string;
}
