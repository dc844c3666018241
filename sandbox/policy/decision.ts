/**
 * What is asked of a policy, what it answers, and where a host has it from: the seam between the sandbox host and
 * sandbox/policy. Types only.
 * A decision holds for one attempt; the host asks again at every Invoke, so that a reload counts from the next one.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';

export type Tier = 'isolate' | 'container';

export interface PolicyRequest {
  /** The command's pluginId. */
  readonly pluginId: string;
  /** As the bundle's manifest line says; only a claim while the bundle is unsigned. */
  readonly name: string;
  readonly version: string;
  /** `sha256:<64 hex>` of the bytes that will run. */
  readonly digest: string;
  /** Whose key verified the bundle; undefined = unsigned. */
  readonly publisher: string | undefined;
  /** Can only narrow: container where a rule gives isolate. The other way round is refused. */
  readonly requestedTier?: Tier;
  /** Can only narrow. 0 or less = not asked. */
  readonly requestedWallMs?: number;
  /** What the manifest asks for. */
  readonly permissions: { readonly net: readonly string[]; readonly secrets: readonly string[] };
}

export interface RunDecision {
  readonly kind: 'run';
  readonly tier: Tier;
  readonly limits: EffectiveLimits;
  /**
   * `required`: without a jail the attempt ends with SANDBOX_UNAVAILABLE. `none`: it may run without one where this
   * machine cannot make one; where it can, the host jails it all the same. The receipt tells what was done.
   */
  readonly jail: 'required' | 'none';
  readonly wasm: boolean;
  /** Steps of one trust domain at a time. */
  readonly concurrent: number;
  readonly freshness: 'isolate';
  /** For the receipt: "rule 2 (sandbox-policy.yaml:14)", "defaults", "developer policy". */
  readonly rule: string;
  /** `sha256:<64 hex>` of the policy in force; prepared isolates are keyed by it. */
  readonly policyHash: string;
}

/** POLICY_DENIED, or PLUGIN_INVALID where the request names no plugin. The message says what to change. */
export interface RefuseDecision {
  readonly kind: 'refuse';
  readonly code: ErrorCode;
  readonly message: string;
}

export type Decision = RunDecision | RefuseDecision;

/** A policy that is in force. Never throws, does no I/O. */
export interface Policy {
  readonly policyHash: string;
  decide(request: PolicyRequest): Decision;
}

export interface PolicySource {
  /** The policy in force now. Ask at every Invoke, never keep it. */
  current(): Policy;
  /** Called after a reload put another policy in force; returns the unsubscriber. */
  onChange(listener: (policy: Policy) => void): () => void;
  /** Stops watching the file. Idempotent. */
  close(): Promise<void>;
}

/** A pino logger is one. */
export interface PolicyLog {
  info(message: string): void;
  error(message: string): void;
}
