/**
 * What a tier is to the host: it is given an attempt that the policy lets run, and tells how it ended. Types only;
 * implemented by isolate/tier.ts and container/tier.ts. The outcome comes only after no code of the attempt runs any more.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { EffectiveLimits, Receipt } from '@flowops/proto/receipt.ts';
import type { Progress } from '@flowops/proto/sandbox_pb.js';
import type { AdmittedLine } from './attempts/log-cap.ts';
import type { TierOutcome } from './attempts/sandbox-result.ts';
import type { StoredBundle } from './bundles/bundle-store.ts';
import type { ContainerTerms } from './policy/decision.ts';

export type { TierOutcome };

/** What is run, whatever runs it. */
export interface AttemptJob {
  readonly purpose: 'run' | 'inspect';
  readonly flowId: string;
  readonly runId: string;
  readonly stepId: string;
  readonly attempt: number;
  readonly pluginId: string;
  readonly pluginVersion: string;
  readonly idempotencyKey: string;
  readonly inputsJson: Uint8Array;
  readonly bundle: StoredBundle;
  readonly limits: EffectiveLimits;
  readonly allowWasm: boolean;
  /** Waits for a debugger; only the isolate tier has one. */
  readonly debug?: true;
}

export interface TierRequest extends AttemptJob {
  /** Publisher, or plugin when unsigned: who may share a process. */
  readonly domain: string;
  readonly concurrent: number;
  readonly jail: 'required' | 'none';
  readonly freshness: 'isolate' | 'context';
  /** How a container for it is made; not looked at by the isolate tier. */
  readonly container: ContainerTerms;
  /** Named in messages about limits and grants. */
  readonly rule: string;
  /** What was prepared under another policy is not used. */
  readonly policyHash: string;
}

/** One call of a plugin to its host, as it came: untrusted. */
export interface TierHostCall {
  /** Unique within the attempt while the call is open. */
  readonly callId: number;
  readonly method: string;
  readonly payloadJson: Uint8Array;
}

export interface HostCallAnswer {
  readonly ok: boolean;
  readonly payloadJson?: Uint8Array;
  readonly code?: ErrorCode;
  readonly message?: string;
  /** To be called once, when nothing more waits to be sent to the plugin: the next large answer may then be fetched. */
  readonly onSent?: () => void;
}

export interface TierEvents {
  /** Its first instruction ran; called again when it began anew. */
  onStarted(): void;
  /** What ran of it is gone, through no fault of its own, and it begins anew: open host calls are nobody's any more. */
  onRestarted?(): void;
  onLog(line: AdmittedLine): void;
  onProgress(progress: Progress): void;
  /** Never rejects. A tier drops the answer when the attempt has ended meanwhile. */
  onHostCall(call: TierHostCall): Promise<HostCallAnswer>;
}

/** The tier's part of a receipt. */
export type TierFigures = Pick<
  Receipt,
  | 'tier'
  | 'jail'
  | 'runtime'
  | 'freshness'
  | 'imageDigest'
  | 'queueMs'
  | 'startMs'
  | 'runMs'
  | 'cpuMs'
  | 'peakMemoryBytes'
  | 'sources'
  | 'droppedLogLines'
>;

export interface TierEnd {
  readonly outcome: TierOutcome;
  readonly figures: TierFigures;
  /** It missed its wall limit because others had the cores: nothing that its plugin did. */
  readonly isStarved?: boolean;
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

/** Every tier of a host, by the name that a policy gives it. */
export interface Tiers {
  readonly isolate: Tier;
  readonly container: Tier;
}
