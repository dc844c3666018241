/**
 * What the rules mean together, beyond their shapes: a name is only a claim, a denial gives nothing, a rule must be
 * able to match. Pure; the places of problems are key paths.
 */
import { tierOf } from './compile.ts';
import type { KeyPath } from './document.ts';
import { covers, isSameId, matches } from './match.ts';
import type { PolicyDocument, PolicyRule } from './schema.ts';

export interface RuleProblem {
  readonly path: KeyPath;
  readonly message: string;
}

const GIVING_KEYS = [
  'tier',
  'limits',
  'grants',
  'container',
  'freshness',
  'jail',
  'concurrent',
  'onViolation',
] as const;

export function checkRules(policy: PolicyDocument): RuleProblem[] {
  const rules = policy.rules ?? [];
  return rules.flatMap((rule, index) => [
    ...checkDenial(rule, index),
    ...checkClaim(policy, rule, index),
    ...checkReachable(policy, rules, rule, index),
  ]);
}

function checkDenial(rule: PolicyRule, index: number): RuleProblem[] {
  if (rule.deny === undefined) return [];
  return GIVING_KEYS.filter((key) => rule[key] !== undefined).map((key) => ({
    path: ['rules', index, key],
    message: 'a rule that denies gives nothing else; leave this key out',
  }));
}

/** An unsigned name is only a claim: whoever publishes a plugin chooses it. */
function checkClaim(policy: PolicyDocument, rule: PolicyRule, index: number): RuleProblem[] {
  const { publisher, id, digest, unsigned } = rule.match;
  if (rule.deny !== undefined || publisher !== undefined || id !== undefined || digest !== undefined) return [];
  if (unsigned === true) return [];
  const given = whatNeedsProof(policy, rule);
  if (given === undefined) return [];
  return [
    {
      path: ['rules', index, ...given.path],
      message:
        `gives ${given.what} to a name that anybody can claim. Add id, digest or publisher to match, ` +
        'or unsigned: true to say that you mean unsigned plugins',
    },
  ];
}

function whatNeedsProof(policy: PolicyDocument, rule: PolicyRule): { path: KeyPath; what: string } | undefined {
  const { net = [], secrets = [], wasm = false } = rule.grants ?? {};
  if (net.length > 0) return { path: ['grants', 'net'], what: 'network' };
  if (secrets.length > 0) return { path: ['grants', 'secrets'], what: 'secrets' };
  if (wasm) return { path: ['grants', 'wasm'], what: 'WebAssembly' };
  if (tierOf(policy, rule) !== 'isolate') return undefined;
  return rule.tier === undefined
    ? { path: ['match'], what: 'the isolate tier (from defaults.tier)' }
    : { path: ['tier'], what: 'the isolate tier' };
}

/** Denials are looked at first, in their order; then the other rules in theirs. */
function checkReachable(
  policy: PolicyDocument,
  rules: readonly PolicyRule[],
  rule: PolicyRule,
  index: number,
): RuleProblem[] {
  const unreachable = (message: string, key: KeyPath = ['match']): RuleProblem[] => [
    { path: ['rules', index, ...key], message: `this rule can never match: ${message}` },
  ];
  const { match } = rule;
  if (match.publisher !== undefined && match.unsigned === true) {
    return unreachable('a plugin with a publisher is not unsigned', ['match', 'unsigned']);
  }
  if (match.digest !== undefined && policy.revoked?.digests?.includes(match.digest)) {
    return unreachable('its digest is revoked', ['match', 'digest']);
  }
  const agreed = Object.entries(policy.plugins ?? {}).find(
    ([id]) => match.id !== undefined && isSameId(id, match.id, 'denial'),
  );
  if (agreed !== undefined && match.plugin !== undefined) {
    const claim = { pluginId: agreed[0], name: agreed[1], version: '0.0.0', digest: '', publisher: undefined };
    if (!matches({ plugin: match.plugin }, claim, 'grant')) {
      return unreachable(`plugins says that this id is ${agreed[1]}`, ['match', 'plugin']);
    }
  }
  const before = rules.findIndex((other, position) => {
    if (position === index) return false;
    const isEarlier =
      other.deny === undefined
        ? position < index && rule.deny === undefined
        : rule.deny === undefined || position < index;
    return isEarlier && covers(other.match, match, other.deny === undefined ? 'grant' : 'denial');
  });
  if (before < 0) return [];
  return unreachable(
    rules[before]?.deny === undefined
      ? `rule ${before + 1} comes first and matches all that it matches`
      : `rule ${before + 1} denies all that it matches, and denials are looked at before the other rules`,
  );
}
