/**
 * What another policy would change for each of the plugins there are: rule, tier, limits, grants and the rest of what a
 * decision gives. Pure. What this host remembers of plugins is left out: it holds under both.
 */
import { isDeepStrictEqual } from 'node:util';
import { type CompiledPolicy, decide, ruleFor } from './decide.ts';
import type { Decision, Identity, PolicyRequest, RunDecision, SignedClaim } from './decision.ts';
import { LIMIT_NAMES } from './schema.ts';

/** One published version. */
export interface DiffSubject {
  readonly pluginId: string;
  readonly claim: SignedClaim;
  readonly permissions: PolicyRequest['permissions'];
}

export interface DiffSide {
  readonly compiled: CompiledPolicy;
  readonly identify: (claim: SignedClaim) => Identity;
}

export interface DecidedSide {
  /** null = unsigned. */
  readonly publisher: string | null;
  readonly decision: Decision;
}

export interface PolicyChange {
  readonly plugin: {
    readonly pluginId: string;
    readonly name: string;
    readonly version: string;
    readonly digest: string;
  };
  readonly old: DecidedSide;
  readonly new: DecidedSide;
  /** What differs, in words of the policy: "tier", "limits.memoryMb", "grants.net", "publisher". */
  readonly fields: readonly { readonly field: string; readonly old: string; readonly new: string }[];
}

/** Undefined: it runs as before, or is refused as before. */
export function changeOf(subject: DiffSubject, former: DiffSide, next: DiffSide): PolicyChange | undefined {
  const old = sideOf(subject, former);
  const now = sideOf(subject, next);
  const fields = differences(old, now);
  if (fields.length === 0) return undefined;
  const { name, version, digest } = subject.claim;
  return {
    plugin: { pluginId: subject.pluginId, name, version, digest },
    old: { publisher: old.publisher, decision: old.decision },
    new: { publisher: now.publisher, decision: now.decision },
    fields,
  };
}

interface Side extends DecidedSide {
  /** The match of the rule that decides, as text; places in the file would differ for every plugin. */
  readonly match: string;
}

function sideOf({ pluginId, claim, permissions }: DiffSubject, { compiled, identify }: DiffSide): Side {
  const { name, version, digest } = claim;
  const { publisher } = identify(claim);
  const request: PolicyRequest = { pluginId, name, version, digest, publisher, permissions };
  const rule = ruleFor(compiled, request);
  return {
    publisher: publisher ?? null,
    decision: decide(compiled, request),
    match: rule === undefined ? 'defaults' : JSON.stringify(rule.match),
  };
}

function differences(a: Side, b: Side): PolicyChange['fields'] {
  const fields: { field: string; old: string; new: string }[] = [];
  const compare = (field: string, old: unknown, now: unknown) => {
    if (!isDeepStrictEqual(old, now)) fields.push({ field, old: textOf(old), new: textOf(now) });
  };
  if (a.decision.kind === 'refuse' || b.decision.kind === 'refuse') {
    if (a.decision.kind !== b.decision.kind) {
      fields.push({ field: 'runs', old: whetherText(a.decision), new: whetherText(b.decision) });
    }
    return fields;
  }
  if (a.match !== b.match) fields.push({ field: 'rule', old: a.decision.rule, new: b.decision.rule });
  compare('publisher', a.publisher ?? 'unsigned', b.publisher ?? 'unsigned');
  const [old, now] = [a.decision, b.decision];
  compare('tier', old.tier, now.tier);
  for (const name of LIMIT_NAMES) compare(`limits.${name}`, old.limits[name], now.limits[name]);
  compare('grants.net', old.grants.net, now.grants.net);
  compare('grants.secrets', secretsOf(old), secretsOf(now));
  compare('grants.wasm', old.grants.wasm, now.grants.wasm);
  for (const key of ['runtime', 'pids', 'cpus', 'tmpfsMb'] as const) {
    compare(`container.${key}`, old.container[key], now.container[key]);
  }
  compare('freshness', old.freshness, now.freshness);
  compare('jail', old.jail, now.jail);
  compare('concurrent', old.concurrent, now.concurrent);
  compare('onViolation.demote', old.onViolation?.demoteAfter ?? 'never', now.onViolation?.demoteAfter ?? 'never');
  return fields;
}

function secretsOf({ grants }: RunDecision): string[] {
  return grants.secrets.map(({ name, hosts }) => `${name} → ${hosts.length === 0 ? 'nowhere' : hosts.join(' ')}`);
}

function whetherText(decision: Decision): string {
  return decision.kind === 'run' ? `yes, in the ${decision.tier} tier by ${decision.rule}` : `no: ${decision.message}`;
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'nothing' : value.join(', ');
  return String(value);
}
