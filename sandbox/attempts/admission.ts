/**
 * Whether an attempt may start, where, and with what: the bundle's first line against what was asked for, whose
 * signature came with the attempt, verified anew under the policy in force, then the policy's decision. No I/O. An
 * inspection (purpose INSPECT) asks no policy: it has no grants, small fixed limits and always the isolate tier, jailed
 * where a jail can be had.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { type Invoke, Purpose } from '@flowops/proto/sandbox_pb.js';
import type { StoredBundle } from '../bundles/bundle-store.ts';
import type { PluginMemory, PluginSubject } from '../ledger/plugin-ledger.ts';
import type { Grants, Policy, Tier, ViolationTerms } from '../policy/decision.ts';
import { DEFAULT_CONTAINER } from '../policy/default-limits.ts';
import type { RuntimeProblem } from '../policy/docker-watch.ts';
import type { TierRequest } from '../tier.ts';

/** Evaluating a module's top level and reading its declaration; a manifest is at most 256 KiB. */
export const INSPECT_LIMITS: EffectiveLimits = {
  memoryMb: 64,
  cpuMs: 2_000,
  wallMs: 5_000,
  outputBytes: 256 * 1024,
  logBytes: 16 * 1024,
  hostCalls: 0,
};
/** A person looks at it: time is no limit, but a day. */
const DEBUG_LIMITS = { wallMs: 86_400_000, cpuMs: 86_400_000 } as const;
const INSPECT_CONCURRENT = 2;
const NO_GRANTS: Grants = { net: [], secrets: [], wasm: false };

export interface AdmittedAttempt {
  readonly ok: true;
  readonly tier: Tier;
  readonly request: TierRequest;
  readonly grants: Grants;
  readonly publisher: string | undefined;
  /** Why the signature that came with it does not count. */
  readonly signatureProblem?: string | undefined;
  readonly subject: PluginSubject;
  /** Absent: violations are not counted. */
  readonly onViolation: ViolationTerms | undefined;
  /** Its name is to be remembered as the one of its pluginId. */
  readonly pinsName: boolean;
}

export type Admission =
  | AdmittedAttempt
  | {
      readonly ok: false;
      readonly code: ErrorCode;
      readonly message: string;
      /** A later try may find it otherwise; absent: it stays so until somebody changes something. */
      readonly isPassing?: boolean;
    };

/** What an attempt is judged by. */
export interface AdmissionParts {
  readonly policy: Policy;
  readonly memory: Pick<PluginMemory, 'recall'>;
  /** Why containers of a runtime may not be started here under `strictRuntimes: true`. */
  readonly runtimeProblem?: ((runtime: string) => RuntimeProblem | undefined) | undefined;
  /** What isolate workers run under where they are containers; undefined where they are not. */
  readonly workerRuntime?: string | undefined;
  readonly nowMs: number;
}

export function admitAttempt(invoke: Invoke, bundle: StoredBundle, parts: AdmissionParts): Admission {
  const { policy, memory, nowMs } = parts;
  const { name, version, permissions } = bundle.manifest;
  if (invoke.pluginVersion !== '' && invoke.pluginVersion !== version) {
    const message = `${invoke.pluginId} ${invoke.pluginVersion} was asked for, but its bundle says ${name} ${version}`;
    return { ok: false, code: 'PLUGIN_INVALID', message };
  }
  if (invoke.purpose === Purpose.INSPECT) return admitInspection(invoke, bundle, policy);
  const tier = invoke.requestedTier;
  if (tier !== '' && tier !== 'isolate' && tier !== 'container') {
    return { ok: false, code: 'SANDBOX_UNAVAILABLE', message: `there is no sandbox tier "${tier.slice(0, 32)}"` };
  }
  const { digest } = bundle;
  const { publisher, problem: signatureProblem } = policy.identify(
    { name, version, digest, signature: invoke.signature },
    nowMs,
  );
  const subject: PluginSubject = { pluginId: invoke.pluginId, name, publisher };
  const decision = policy.decide({
    pluginId: invoke.pluginId,
    name,
    version,
    digest,
    publisher,
    permissions,
    history: memory.recall(subject),
    ...(tier === '' ? {} : { requestedTier: tier }),
    ...(invoke.requestedWallMs === 0 ? {} : { requestedWallMs: invoke.requestedWallMs }),
  });
  if (decision.kind === 'refuse') {
    const uncounted = signatureProblem === undefined ? '' : `. It counts as unsigned: ${signatureProblem}`;
    return { ok: false, code: decision.code, message: `${decision.message}${uncounted}` };
  }
  const runtime = decision.tier === 'container' ? decision.container.runtime : parts.workerRuntime;
  const unsafe = policy.strictRuntimes === true && runtime !== undefined ? parts.runtimeProblem?.(runtime) : undefined;
  if (unsafe !== undefined) {
    const way = decision.tier === 'container' ? 'a container' : 'an isolate, whose worker is a container here';
    const message = `${decision.rule} sends ${name} to ${way}, and strictRuntimes allows none: ${unsafe.message}`;
    return { ok: false, code: unsafe.code, message, isPassing: unsafe.code === 'SANDBOX_UNAVAILABLE' };
  }
  if (decision.tier === 'isolate' && bundle.manifest.runtime === 'node') {
    const message = `${name} ${version} says runtime: "node" and runs in the container tier only; ${decision.rule} gives it the isolate tier. To allow: tier: container`;
    return { ok: false, code: 'POLICY_DENIED', message };
  }
  if (invoke.debug && decision.tier !== 'isolate') {
    const message = `${decision.rule} sends ${name} to the container tier, where nothing can be debugged; use a policy that gives it the isolate tier`;
    return { ok: false, code: 'POLICY_DENIED', message };
  }
  const request: TierRequest = {
    ...jobOf(invoke, bundle),
    purpose: 'run',
    limits: invoke.debug ? { ...decision.limits, ...DEBUG_LIMITS } : decision.limits,
    ...(invoke.debug ? { debug: true } : {}),
    allowWasm: decision.grants.wasm,
    domain: domainOf(invoke, bundle, publisher),
    concurrent: decision.concurrent,
    jail: decision.jail,
    freshness: decision.freshness,
    container: decision.container,
    rule: decision.rule,
    policyHash: decision.policyHash,
  };
  const { grants, onViolation, pinsName = false } = decision;
  return {
    ok: true,
    tier: decision.tier,
    request,
    grants,
    publisher,
    signatureProblem,
    subject,
    onViolation,
    pinsName,
  };
}

function admitInspection(invoke: Invoke, bundle: StoredBundle, policy: Policy): Admission {
  const request: TierRequest = {
    ...jobOf(invoke, bundle),
    purpose: 'inspect',
    limits: INSPECT_LIMITS,
    allowWasm: false,
    domain: domainOf(invoke, bundle, undefined),
    concurrent: INSPECT_CONCURRENT,
    jail: 'none',
    freshness: 'isolate',
    container: DEFAULT_CONTAINER,
    rule: 'inspection',
    policyHash: policy.policyHash,
  };
  const subject: PluginSubject = { pluginId: invoke.pluginId, name: bundle.manifest.name, publisher: undefined };
  const plain = { publisher: undefined, onViolation: undefined, pinsName: false };
  return { ok: true, tier: 'isolate', request, grants: NO_GRANTS, subject, ...plain };
}

/** Who may share a process with it: the publisher's plugins; an unsigned one nobody. */
function domainOf(invoke: Invoke, bundle: StoredBundle, publisher: string | undefined): string {
  return publisher === undefined ? `plugin:${bundle.manifest.name}:${invoke.pluginId}` : `publisher:${publisher}`;
}

function jobOf(invoke: Invoke, bundle: StoredBundle) {
  const { flowId, runId, stepId, attempt, pluginId, pluginVersion, idempotencyKey, inputsJson } = invoke;
  return { flowId, runId, stepId, attempt, pluginId, pluginVersion, idempotencyKey, inputsJson, bundle };
}
