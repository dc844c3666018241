/**
 * The seam between the isolate tier and one worker: what a worker is given to run, what it tells, and how its part can
 * end. Types only; worker-process.ts implements the worker, tests have a hand-written one.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { HostCall, Log, Progress, Result } from '@flowops/proto/sandbox_pb.js';
import type { AttemptJob, HostCallAnswer } from '../tier.ts';

/** A worker serves one trust domain from its first job to its end. */
export interface WorkerJob extends AttemptJob {
  readonly domain: string;
  /** What was prepared under another policy is not used. */
  readonly policyHash: string;
  readonly freshness: 'isolate' | 'context';
}

export interface WorkerJobEvents {
  /** The guest's first instruction ran. At most once. */
  onStarted(): void;
  /** False: the plugin logs beyond every cap and is to be ended. */
  onLog(log: Log): boolean;
  onProgress(progress: Progress): void;
  onHostCall(call: HostCall): Promise<HostCallAnswer>;
  /** Once, and after everything else. No code of this job runs any more. `used` where the job was alone all the time. */
  onEnded(end: JobEnd, used: KernelFigures | undefined): void;
}

/** Of the whole worker, its helper threads and base included, while one job and no other was in it. */
export interface KernelFigures {
  readonly cpuMs: number | undefined;
  readonly peakMemoryBytes: number | undefined;
}

/** How a job's time in one worker ended, in the order of design 5.4. */
export type JobEnd =
  /** The worker's own answer; its content is only the worker's word. */
  | { readonly kind: 'result'; readonly result: Result }
  /** The host ended the worker because of this job, or the worker died and nothing else was in it. */
  | { readonly kind: 'charged'; readonly code: ErrorCode; readonly detail: string }
  /** It reached its wall limit because others had the cores. Run it again, once. */
  | { readonly kind: 'starved'; readonly detail: string }
  /** It did not stop within the grace period of a cancel. */
  | { readonly kind: 'killed-on-cancel' }
  /** The worker died with several jobs in it: this may have been the one. Run it again alone. */
  | { readonly kind: 'suspect'; readonly detail: string }
  /** The worker was ended because of another job, or never became ready. Run it again. */
  | { readonly kind: 'innocent'; readonly detail: string };

export interface JobHandle {
  /** Idempotent; a second call with a shorter grace shortens it. */
  cancel(options: { graceMs: number; reason: string }): void;
  pause(): void;
  resume(): void;
}

/** What the pool and the tier see of a worker. */
export interface IsolateWorker {
  readonly id: number;
  readonly isJailed: boolean;
  /** Ready, on time with its pings, and not to be recycled. */
  readonly takesSteps: boolean;
  /** To be recycled as soon as it is idle. */
  readonly isSpent: boolean;
  readonly jobs: number;
  run(job: WorkerJob, events: WorkerJobEvents): JobHandle;
  /** Ends it; jobs in it end as innocent. Resolves when no process of it is left. Idempotent. */
  close(): Promise<void>;
}

export interface WorkerEvents {
  /** It may take steps (again). */
  onAvailable(): void;
  /** A job ended; the worker may have room, or be spent and idle. */
  onRelease(): void;
  /** No process of it is left. `startProblem` when it never became ready. */
  onEnded(end: { readonly startProblem: string | undefined }): void;
}
