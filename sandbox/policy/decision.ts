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
  /** What this host remembers of the plugin (sandbox/ledger); absent = nothing. */
  readonly history?: PluginHistory;
}

/** What a host remembers of one plugin between attempts. */
export interface PluginHistory {
  /** The name this pluginId was first used under, or that an operator agreed to. */
  readonly agreedName?: string;
  /** No more names can be remembered: a first use cannot be told from a change. */
  readonly isFull?: boolean;
  /** It broke its limits so often that it runs in the container tier until an operator lifts that. */
  readonly demotion?: Demotion;
}

export interface Demotion {
  readonly violations: number;
  /** The last one. */
  readonly code: ErrorCode;
  /** ISO-8601, UTC. */
  readonly since: string;
}

/** A secret, and where it may be sent (design 5.3). */
export interface SecretGrant {
  readonly name: string;
  /** `host:port` or `private:host:port`, as in `net`. */
  readonly hosts: readonly string[];
}

/** Rule ∩ what the manifest asks for. */
export interface Grants {
  /** `host:port` or `private:host:port`, the host in lower case. */
  readonly net: readonly string[];
  readonly secrets: readonly SecretGrant[];
  readonly wasm: boolean;
}

/** How a step's container is made, beside the limits every tier has. */
export interface ContainerTerms {
  readonly runtime: 'runc' | 'runsc';
  readonly pids: number;
  readonly cpus: number;
  readonly tmpfsMb: number;
}

/** What a bundle claims to be, and the text of the .sig file that came with the attempt; empty = unsigned. */
export interface SignedClaim {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly signature: string;
}

export interface Identity {
  /** Whose key verified the claim under this policy now; undefined = unsigned. */
  readonly publisher: string | undefined;
  /** Why a signature that is there does not count; for messages. */
  readonly problem: string | undefined;
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
  readonly grants: Grants;
  readonly container: ContainerTerms;
  /** Steps of one trust domain at a time. */
  readonly concurrent: number;
  readonly freshness: 'isolate' | 'context';
  /**
   * For the receipt: "rule 2 (sandbox-policy.yaml:14)", "defaults", "developer policy"; behind it, where it applies,
   * that the plugin was demoted.
   */
  readonly rule: string;
  /** `sha256:<64 hex>` of the policy in force; prepared isolates are keyed by it. */
  readonly policyHash: string;
  /** Absent: violations are not counted. */
  readonly onViolation?: ViolationTerms;
  /** The policy does not say which name this pluginId has: the host keeps the one of its first use. */
  readonly pinsName?: boolean;
}

export interface ViolationTerms {
  /** After so many the plugin goes to the container tier. */
  readonly demoteAfter: number;
  /** False where the request shortened the wall limit: running into that one says nothing about the plugin. */
  readonly countsWall: boolean;
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
  /** Verified anew at each call: a key that was revoked or has expired counts from the next attempt on. */
  identify(claim: SignedClaim, nowMs: number): Identity;
  decide(request: PolicyRequest): Decision;
  /** A denial by this policy also ends attempts that already run. */
  readonly stopRunning?: boolean;
  /** A runtime with a known hole runs no container. */
  readonly strictRuntimes?: boolean;
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
  warn(message: string): void;
  error(message: string): void;
}
