/**
 * The seam between the isolate tier and one worker: what a worker is given to run, and what it tells of itself. Types
 * only; worker-process.ts implements the worker, tests have a hand-written one. What a step tells is steps/step-end.ts.
 */
import type { StepEvents, StepHandle } from '../steps/step-end.ts';
import type { AttemptJob } from '../tier.ts';
import type { Confinement } from './worker-body.ts';

/** A worker serves one trust domain from its first job to its end. */
export interface WorkerJob extends AttemptJob {
  readonly domain: string;
  /** What was prepared under another policy is not used. */
  readonly policyHash: string;
  readonly freshness: 'isolate' | 'context';
}

/** What the pool and the tier see of a worker. */
export interface IsolateWorker {
  readonly id: number;
  readonly confinement: Confinement;
  /** Ready, on time with its pings, and not to be recycled. */
  readonly takesSteps: boolean;
  /** To be recycled as soon as it is idle. */
  readonly isSpent: boolean;
  readonly jobs: number;
  run(job: WorkerJob, events: StepEvents): StepHandle;
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
