/**
 * The decision of a policy about one attempt. Deterministic: no clock, no I/O, no state; what the host remembers of the
 * plugin comes in with the request.
 *
 * Order (design 5.5): what the request claims to be, the pluginId's agreed name, revocations, denials, minVersion, then
 * the rules, first match wins, else the defaults; then demotion, the request and the manifest's permissions, each of
 * which only narrows or refuses.
 */
import { isDigest } from '@flowops/proto/ids.ts';
import { pluginNameSchema, versionSchema } from '@flowops/proto/manifest.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import semver from 'semver';
import type { ContainerTerms, Decision, PolicyRequest, RefuseDecision, RunDecision, Tier } from './decision.ts';
import type { Publishers } from './identify.ts';
import { matches } from './match.ts';
import { type GivenPermissions, grantPermissions } from './permissions.ts';
import { denied, invalid, shown, yamlText } from './refusal.ts';
import type { PolicyMatch } from './schema.ts';

/** What a rule (or the defaults) gives, every value filled in. */
export interface Terms {
  /** "rule 2 (sandbox-policy.yaml:14)", "defaults", "developer policy". */
  readonly place: string;
  readonly tier: Tier;
  readonly limits: EffectiveLimits;
  readonly jail: 'required' | 'none';
  readonly wasm: boolean;
  readonly container: ContainerTerms;
  readonly concurrent: number;
  readonly freshness: 'isolate' | 'context';
  readonly permissions: GivenPermissions;
  /** onViolation.demote; undefined = violations are not counted. */
  readonly demoteAfter: number | undefined;
}

export interface GivingRule {
  readonly match: PolicyMatch;
  readonly terms: Terms;
}

export interface DenyingRule {
  readonly match: PolicyMatch;
  readonly place: string;
  readonly reason: string;
}

/** A policy ready to decide, independent of the text it came from. */
export interface CompiledPolicy {
  readonly policyHash: string;
  /** File name for messages; undefined where there is no file. */
  readonly file: string | undefined;
  /** Digest → place in the file. */
  readonly revokedDigests: ReadonlyMap<string, string>;
  /** pluginId in lower case → the agreed name, and the place in the file. */
  readonly plugins: ReadonlyMap<string, { readonly name: string; readonly place: string }>;
  /** Name → lowest version that may run, and the place in the file. */
  readonly minVersions: ReadonlyMap<string, { readonly version: string; readonly place: string }>;
  readonly publishers: Publishers;
  readonly denials: readonly DenyingRule[];
  readonly rules: readonly GivingRule[];
  readonly defaults: Terms;
  readonly stopRunning: boolean;
  readonly strictRuntimes: boolean;
  /** False: names of first use and demotions don't hold under it. */
  readonly usesHistory: boolean;
}

export function decide(policy: CompiledPolicy, request: PolicyRequest): Decision {
  const refusal = refuseBeforeRules(policy, request);
  if (refusal !== undefined) return refusal;
  const terms = termsFor(policy, request);
  const demotion = policy.usesHistory && terms.tier === 'isolate' ? request.history?.demotion : undefined;
  const tier = demotion === undefined ? terms.tier : 'container';
  const place =
    demotion === undefined ? terms.place : `${terms.place} (demoted after ${demotion.violations} violations)`;
  if (request.requestedTier === 'isolate' && tier === 'container') return refuseWidening(request, terms);
  const granted = grantPermissions(request, terms.permissions, {
    place: terms.place,
    isRule: terms !== policy.defaults,
  });
  if (!granted.ok) return granted.refusal;
  const limits = narrowLimits(terms.limits, request.requestedWallMs);
  return {
    kind: 'run',
    tier: request.requestedTier ?? tier,
    limits,
    jail: terms.jail,
    grants: { net: granted.net, secrets: granted.secrets, wasm: terms.wasm },
    container: terms.container,
    concurrent: terms.concurrent,
    freshness: terms.freshness,
    rule: place,
    policyHash: policy.policyHash,
    ...violationTerms(terms, limits),
    ...(policy.usesHistory && agreedNameOf(policy, request) === undefined ? { pinsName: true } : {}),
  };
}

/** The first rule that matches, else the defaults. */
export function termsFor(policy: CompiledPolicy, request: PolicyRequest): Terms {
  return ruleFor(policy, request)?.terms ?? policy.defaults;
}

/** Undefined: the defaults decide. */
export function ruleFor(policy: CompiledPolicy, request: PolicyRequest): GivingRule | undefined {
  return policy.rules.find(({ match }) => matches(match, request, 'grant'));
}

function refuseBeforeRules(policy: CompiledPolicy, request: PolicyRequest): RefuseDecision | undefined {
  const { name, version, digest } = request;
  if (!pluginNameSchema.safeParse(name).success || !versionSchema.safeParse(version).success || !isDigest(digest)) {
    return invalid(
      `${shown(name)} ${shown(version)} is no plugin name and version; a name is a-z 0-9 . _ -, a version like 1.0.0`,
    );
  }
  const misnamed = refuseOtherName(policy, request);
  if (misnamed !== undefined) return misnamed;
  const revoked = policy.revokedDigests.get(digest);
  if (revoked !== undefined) return denied(`${name} ${version} (${digest}) is revoked by ${revoked}`);
  const denial = policy.denials.find(({ match }) => matches(match, request, 'denial'));
  if (denial !== undefined) return denied(`${name} ${version} is denied by ${denial.place}: ${denial.reason}`);
  const least = policy.minVersions.get(name);
  if (least !== undefined && semver.lt(version, least.version)) {
    return denied(
      `${name} ${version} is older than ${least.version}, the lowest that ${least.place} allows; use that or a later one`,
    );
  }
  return undefined;
}

/** The name that this pluginId is to have, and who said so; undefined before its first use. */
function agreedNameOf(policy: CompiledPolicy, { pluginId, history }: PolicyRequest) {
  const written = policy.plugins.get(pluginId.toLowerCase());
  if (written !== undefined) return written;
  const name = policy.usesHistory ? history?.agreedName : undefined;
  return name === undefined ? undefined : { name, place: undefined };
}

function refuseOtherName(policy: CompiledPolicy, request: PolicyRequest): RefuseDecision | undefined {
  const { pluginId, name, history } = request;
  const line = `plugins: { ${yamlText(pluginId)}: ${yamlText(name)} }`;
  const agreed = agreedNameOf(policy, request);
  if (agreed === undefined) {
    if (!policy.usesHistory || history?.isFull !== true) return undefined;
    return denied(
      `${name} would be used for the first time as ${shown(pluginId)}, and this host can keep no more names of plugins. ` +
        `To allow: ${line}`,
    );
  }
  if (agreed.name === name) return undefined;
  const calls = `the plugin published as ${shown(pluginId)} calls itself ${name}`;
  if (agreed.place !== undefined) {
    return denied(`${calls}, but ${agreed.place} says that it is ${agreed.name}. To allow: ${line}`);
  }
  return denied(
    `${calls}, but it was ${agreed.name} when it was first used here. To allow: ${line}, or ` +
      `\`flowops policy pins --agree ${shown(pluginId)}=${name}\``,
  );
}

function refuseWidening({ name, digest, history }: PolicyRequest, terms: Terms): RefuseDecision {
  const asked = `${name} was asked to run in the isolate tier`;
  if (terms.tier === 'isolate') {
    return denied(
      `${asked}; ${terms.place} gives it that, but it was demoted to the container tier after ` +
        `${history?.demotion?.violations} violations. To allow: \`flowops policy demotions --lift ${name}\``,
    );
  }
  return denied(
    `${asked}; ${terms.place} gives it container, and a request can only narrow. To allow: a rule with match: ` +
      `{ plugin: "${name}", digest: "${digest}" } and tier: isolate`,
  );
}

function narrowLimits(limits: EffectiveLimits, requestedWallMs: number | undefined): EffectiveLimits {
  if (requestedWallMs === undefined || !(requestedWallMs > 0) || requestedWallMs >= limits.wallMs) return limits;
  return { ...limits, wallMs: Math.max(1, Math.floor(requestedWallMs)) };
}

function violationTerms(terms: Terms, limits: EffectiveLimits): Pick<RunDecision, 'onViolation'> {
  if (terms.demoteAfter === undefined) return {};
  return { onViolation: { demoteAfter: terms.demoteAfter, countsWall: limits.wallMs === terms.limits.wallMs } };
}
