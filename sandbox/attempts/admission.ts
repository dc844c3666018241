/**
 * Whether an attempt may start, and with what: the bundle's first line against what was asked for, then the policy.
 * Pure. An inspection (purpose INSPECT) asks no policy: it has no grants, small fixed limits and always the isolate
 * tier, jailed where a jail can be had.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { type Invoke, Purpose } from '@flowops/proto/sandbox_pb.js';
import type { StoredBundle } from '../bundles/bundle-store.ts';
import type { Policy } from '../policy/decision.ts';
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
const INSPECT_CONCURRENT = 2;

export type Admission =
  | { readonly ok: true; readonly request: TierRequest; readonly policyHash: string }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

export function admitAttempt(invoke: Invoke, bundle: StoredBundle, policy: Policy): Admission {
  const { name, version } = bundle.manifest;
  if (invoke.pluginVersion !== '' && invoke.pluginVersion !== version) {
    const message = `${invoke.pluginId} ${invoke.pluginVersion} was asked for, but its bundle says ${name} ${version}`;
    return { ok: false, code: 'PLUGIN_INVALID', message };
  }
  if (invoke.purpose === Purpose.INSPECT) return admitInspection(invoke, bundle, policy);
  const tier = invoke.requestedTier;
  if (tier !== '' && tier !== 'isolate' && tier !== 'container') {
    return { ok: false, code: 'SANDBOX_UNAVAILABLE', message: `there is no sandbox tier "${tier.slice(0, 32)}"` };
  }
  const decision = policy.decide({
    pluginId: invoke.pluginId,
    name,
    version,
    digest: bundle.digest,
    // No signature is verified here yet, so nobody's key stands for a bundle: every one counts as unsigned.
    publisher: undefined,
    permissions: bundle.manifest.permissions,
    ...(tier === '' ? {} : { requestedTier: tier }),
    ...(invoke.requestedWallMs === 0 ? {} : { requestedWallMs: invoke.requestedWallMs }),
  });
  if (decision.kind === 'refuse') return { ok: false, code: decision.code, message: decision.message };
  if (decision.tier === 'container') {
    const message =
      `${decision.rule} sends ${name} to the container tier, which this build does not have. To run it in an ` +
      'isolate, add a rule that names it (by id or digest, or with `unsigned: true`) and says `tier: isolate`';
    return { ok: false, code: 'SANDBOX_UNAVAILABLE', message };
  }
  const request: TierRequest = {
    ...jobOf(invoke, bundle),
    purpose: 'run',
    limits: decision.limits,
    allowWasm: decision.wasm,
    domain: domainOf(invoke, bundle),
    concurrent: decision.concurrent,
    jail: decision.jail,
    rule: decision.rule,
  };
  return { ok: true, request, policyHash: decision.policyHash };
}

function admitInspection(invoke: Invoke, bundle: StoredBundle, policy: Policy): Admission {
  const request: TierRequest = {
    ...jobOf(invoke, bundle),
    purpose: 'inspect',
    limits: INSPECT_LIMITS,
    allowWasm: false,
    domain: domainOf(invoke, bundle),
    concurrent: INSPECT_CONCURRENT,
    jail: 'none',
    rule: 'inspection',
  };
  return { ok: true, request, policyHash: policy.policyHash };
}

/** No bundle has a verified publisher yet: the plugin itself is the trust domain. */
function domainOf(invoke: Invoke, bundle: StoredBundle): string {
  return `plugin:${bundle.manifest.name}:${invoke.pluginId}`;
}

function jobOf(invoke: Invoke, bundle: StoredBundle) {
  const { flowId, runId, stepId, attempt, pluginId, pluginVersion, idempotencyKey } = invoke;
  // A copy: the bytes are a view of the socket's buffer, which would stay alive with the attempt.
  const inputsJson = Uint8Array.from(invoke.inputsJson);
  return { flowId, runId, stepId, attempt, pluginId, pluginVersion, idempotencyKey, inputsJson, bundle };
}
