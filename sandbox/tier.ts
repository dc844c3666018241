/**
 * What a tier is to the host: it is given an attempt that the policy lets run, and tells how it ended. Types only;
 * implemented by isolate/tier.ts. The outcome comes only after no code of the attempt runs any more.
 */
import type { EffectiveLimits, Receipt } from '@flowops/proto/receipt.ts';
import type { Progress } from '@flowops/proto/sandbox_pb.js';
import type { AdmittedLine } from './attempts/log-cap.ts';
import type { WorkerJob } from './isolate/worker-job.ts';
import type { TierOutcome } from './isolate/worker-result.ts';

export type { TierOutcome };

export interface TierRequest extends WorkerJob {
  /** Publisher, or plugin when unsigned: who may share a process. */
  readonly domain: string;
  readonly concurrent: number;
  readonly jail: 'required' | 'none';
  /** Named in messages about limits and grants. */
  readonly rule: string;
  readonly limits: EffectiveLimits;
}

export interface TierEvents {
  onStarted(): void;
  onLog(line: AdmittedLine): void;
  onProgress(progress: Progress): void;
}

/** The tier's part of a receipt. */
export type TierFigures = Pick<
  Receipt,
  | 'tier'
  | 'jail'
  | 'runtime'
  | 'queueMs'
  | 'startMs'
  | 'runMs'
  | 'cpuMs'
  | 'peakMemoryBytes'
  | 'sources'
  | 'hostCalls'
  | 'droppedLogLines'
>;

export interface TierEnd {
  readonly outcome: TierOutcome;
  readonly figures: TierFigures;
}

export interface TierRun {
  /** Settles once, never rejects. */
  readonly ended: Promise<TierEnd>;
  cancel(options: { graceMs: number; reason: string }): void;
  pause(): void;
  resume(): void;
}

export interface Tier {
  run(request: TierRequest, events: TierEvents): TierRun;
  /** Ends everything in it; its runs end as failed. Idempotent. */
  close(): Promise<void>;
}
