/**
 * The decision of a policy about one attempt. Deterministic: no clock, no I/O, no state.
 *
 * Order (design 5.5): what the request claims to be, the pluginId's agreed name, revocations, denials, minVersion, then
 * the rules, first match wins, else the defaults. A request only narrows what comes out of that; it never widens.
 */
import { isDigest } from '@flowops/proto/ids.ts';
import { pluginNameSchema, versionSchema } from '@flowops/proto/manifest.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import semver from 'semver';
import type { ContainerTerms, Decision, Grants, PolicyRequest, RefuseDecision, Tier } from './decision.ts';
import { matches } from './match.ts';
import type { PolicyMatch } from './schema.ts';

/** How many asked-for permissions a message lists before it only counts them. */
const MAX_LISTED = 3;
/** A permission is a stranger's text: no more of it than a host name can have. */
const MAX_SHOWN_CHARS = 300;

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
  /** `manifest`: what the manifest asks for. `nothing`: neither network nor secrets. */
  readonly permissions: 'manifest' | 'nothing';
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
  readonly denials: readonly DenyingRule[];
  readonly rules: readonly GivingRule[];
  readonly defaults: Terms;
}

export function decide(policy: CompiledPolicy, request: PolicyRequest): Decision {
  const refusal = refuseBeforeRules(policy, request);
  if (refusal !== undefined) return refusal;
  const terms = termsFor(policy, request);
  if (request.requestedTier === 'isolate' && terms.tier === 'container') {
    return denied(
      `${request.name} was asked to run in the isolate tier; ${terms.place} gives it container, and a request can only ` +
        `narrow. To allow: a rule with match: { plugin: "${request.name}", digest: "${request.digest}" } and tier: isolate`,
    );
  }
  const missing = missingPermissions(terms, request);
  if (missing !== undefined) return missing;
  return {
    kind: 'run',
    tier: request.requestedTier ?? terms.tier,
    limits: narrowLimits(terms.limits, request.requestedWallMs),
    jail: terms.jail,
    grants: grantsOf(terms, request),
    container: terms.container,
    concurrent: terms.concurrent,
    freshness: 'isolate',
    rule: terms.place,
    policyHash: policy.policyHash,
  };
}

/** The first rule that matches, else the defaults. */
export function termsFor(policy: CompiledPolicy, request: PolicyRequest): Terms {
  return policy.rules.find(({ match }) => matches(match, request, 'grant'))?.terms ?? policy.defaults;
}

function refuseBeforeRules(policy: CompiledPolicy, request: PolicyRequest): RefuseDecision | undefined {
  const { name, version, digest, pluginId } = request;
  if (!pluginNameSchema.safeParse(name).success || !versionSchema.safeParse(version).success || !isDigest(digest)) {
    return {
      kind: 'refuse',
      code: 'PLUGIN_INVALID',
      message: `${shown(name)} ${shown(version)} is no plugin name and version; a name is a-z 0-9 . _ -, a version like 1.0.0`,
    };
  }
  const agreed = policy.plugins.get(pluginId.toLowerCase());
  if (agreed !== undefined && agreed.name !== name) {
    return denied(
      `the plugin published as ${shown(pluginId)} calls itself ${name}, but ${agreed.place} says that it is ` +
        `${agreed.name}. To allow: plugins: { ${pluginId}: ${name} }`,
    );
  }
  const revoked = policy.revokedDigests.get(digest);
  if (revoked !== undefined) return denied(`${name} ${version} (${digest}) is revoked by ${revoked}`);
  const denial = policy.denials.find(({ match }) => matches(match, request, 'denial'));
  if (denial !== undefined) return denied(`${name} ${version} is denied by ${denial.place}: ${denial.reason}`);
  const least = policy.minVersions.get(name);
  if (least !== undefined && semver.lt(version, least.version)) {
    return denied(`${name} ${version} is older than ${least.version}, the lowest that ${least.place} allows`);
  }
  return undefined;
}

function missingPermissions(terms: Terms, request: PolicyRequest): RefuseDecision | undefined {
  if (terms.permissions === 'manifest') return undefined;
  const { net, secrets } = request.permissions;
  if (net.length > 0) {
    return denied(
      `${request.name} asked for ${listed(net)}; ${terms.place} grants no network. Network access for plugins is not ` +
        'available in this release; to run it, build it without permissions.net',
    );
  }
  if (secrets.length > 0) {
    return denied(
      `${request.name} asked for the secret ${listed(secrets)}; ${terms.place} grants no secrets. Secrets are not ` +
        'available in this release; to run it, build it without permissions.secrets',
    );
  }
  return undefined;
}

function grantsOf(terms: Terms, { permissions }: PolicyRequest): Grants {
  if (terms.permissions === 'nothing') return { net: [], secrets: [], wasm: terms.wasm };
  // What the developer's own plugin asks for, it gets: a secret may go wherever the plugin may.
  const { net } = permissions;
  return { net, secrets: permissions.secrets.map((name) => ({ name, hosts: net })), wasm: terms.wasm };
}

function narrowLimits(limits: EffectiveLimits, requestedWallMs: number | undefined): EffectiveLimits {
  if (requestedWallMs === undefined || !(requestedWallMs > 0) || requestedWallMs >= limits.wallMs) return limits;
  return { ...limits, wallMs: Math.max(1, Math.floor(requestedWallMs)) };
}

function denied(message: string): RefuseDecision {
  return { kind: 'refuse', code: 'POLICY_DENIED', message };
}

function listed(texts: readonly string[]): string {
  const first = texts.slice(0, MAX_LISTED).map(shown).join(', ');
  return texts.length > MAX_LISTED ? `${first} and ${texts.length - MAX_LISTED} more` : first;
}

/** A stranger's text inside a sentence: as it is when it is harmless, else quoted with everything odd escaped. */
function shown(text: string): string {
  if (/^[\x21-\x7e]{1,300}$/.test(text)) return text;
  const quoted = JSON.stringify(text.slice(0, MAX_SHOWN_CHARS));
  return quoted.replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
