/**
 * The seam between a tier and one step in one sandbox, whichever tier it is: what the step tells while it runs, what can
 * be asked of it, and how its time in that sandbox can end. Types only, but for the one end that has no other detail.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { Log, Progress, Result } from '@flowops/proto/sandbox_pb.js';
import type { HostCallAnswer, TierHostCall } from '../tier.ts';

export interface StepEvents {
  /** The guest's first instruction ran. At most once. */
  onStarted(): void;
  /** False: the plugin logs beyond every cap and is to be ended. */
  onLog(log: Log): boolean;
  onProgress(progress: Progress): void;
  onHostCall(call: TierHostCall): Promise<HostCallAnswer>;
  /** Once, and after everything else. No code of this step runs any more. `used` where it was alone all the time. */
  onEnded(end: StepEnd, used: KernelFigures | undefined): void;
}

/** Of the whole sandbox, its helper threads and base included, while one step and no other was in it. */
export interface KernelFigures {
  readonly cpuMs: number | undefined;
  readonly peakMemoryBytes: number | undefined;
}

/** How a step's time in one sandbox ended, in the order of design 5.4. */
export type StepEnd =
  /** The sandbox's own answer; its content is only the sandbox's word. */
  | { readonly kind: 'result'; readonly result: Result }
  /** The host ended the sandbox because of this step, or the sandbox died and nothing else was in it. */
  | { readonly kind: 'charged'; readonly code: ErrorCode; readonly detail: string }
  /** It reached its wall limit because others had the cores. Run it again, once. */
  | { readonly kind: 'starved'; readonly detail: string }
  /** It did not stop within the grace period of a cancel. */
  | { readonly kind: 'killed-on-cancel' }
  /** The sandbox died with several steps in it: this may have been the one. Run it again alone. */
  | { readonly kind: 'suspect'; readonly detail: string }
  /** The sandbox was ended because of another step or by a fault of ours, or never became ready. Run it again. */
  | { readonly kind: 'innocent'; readonly detail: string };

export const STARVED = { kind: 'starved', detail: 'it got less than a tenth of a core because of others' } as const;

export interface StepHandle {
  /** Idempotent; a second call with a shorter grace shortens it. */
  cancel(options: { graceMs: number; reason: string }): void;
  pause(): void;
  resume(): void;
}
