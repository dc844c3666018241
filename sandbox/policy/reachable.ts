/**
 * Whether a rule of a policy can ever decide something. Pure; errs to "it can".
 *
 * A match is looked at as the plugins it can hold for: unsigned ones, and those of each publisher under that
 * publisher's names. It can never match when there are none, or when each kind is taken by a rule that comes before.
 * Denials come first, in their order; then the other rules in theirs.
 */
import { nearestName } from '@flowops/proto/ids.ts';
import semver from 'semver';
import type { KeyPath } from './document.ts';
import { commonPattern, covers, isSameId, matches } from './match.ts';
import type { PolicyDocument, PolicyMatch, PolicyRule } from './schema.ts';

/** Beyond so many kinds a match is compared whole: loading stays fast, and a rule more passes as reachable. */
const MAX_KINDS = 64;

export interface Unreachable {
  /** Below the rule. */
  readonly key: KeyPath;
  readonly message: string;
}

/** Why rule `index` can never match; undefined when it can. */
export function whyUnreachable(policy: PolicyDocument, index: number): Unreachable | undefined {
  const rules = policy.rules ?? [];
  const rule = rules[index];
  if (rule === undefined) return undefined;
  const found = whyNothing(policy, rule.match) ?? whyTaken(policy, rules, rule, index);
  return found === undefined ? undefined : { ...found, message: `this rule can never match: ${found.message}` };
}

function whyNothing(policy: PolicyDocument, match: PolicyMatch): Unreachable | undefined {
  const { publisher, unsigned, digest, id, plugin, version } = match;
  const publishers = policy.publishers ?? {};
  if (publisher !== undefined && unsigned === true) {
    return { key: ['match', 'unsigned'], message: 'a plugin with a publisher is not unsigned' };
  }
  if (unsigned === false && publisher === undefined && Object.keys(publishers).length === 0) {
    return { key: ['match', 'unsigned'], message: 'the policy has no publishers, so every plugin is unsigned' };
  }
  if (publisher !== undefined) {
    const names = Object.hasOwn(publishers, publisher) ? publishers[publisher]?.names : undefined;
    if (names === undefined) {
      const near = nearestName(publisher, Object.keys(publishers));
      const hint = near === undefined ? '' : `; did you mean ${near}?`;
      return { key: ['match', 'publisher'], message: `publishers has no ${publisher}${hint}` };
    }
    if (plugin !== undefined && names.every((name) => commonPattern(name, plugin) === undefined)) {
      return { key: ['match', 'plugin'], message: `${publisher} publishes only ${names.join(', ')}` };
    }
  }
  if (digest !== undefined && policy.revoked?.digests?.includes(digest)) {
    return { key: ['match', 'digest'], message: 'its digest is revoked' };
  }
  const agreed = Object.entries(policy.plugins ?? {}).find(
    ([listed]) => id !== undefined && isSameId(listed, id, 'denial'),
  );
  if (agreed !== undefined && plugin !== undefined) {
    const claim = { pluginId: agreed[0], name: agreed[1], version: '0.0.0', digest: '', publisher: undefined };
    if (!matches({ plugin }, claim, 'grant')) {
      return { key: ['match', 'plugin'], message: `plugins says that this id is ${agreed[1]}` };
    }
  }
  const minimums = policy.minVersion ?? {};
  const least = plugin !== undefined && Object.hasOwn(minimums, plugin) ? minimums[plugin] : undefined;
  if (least !== undefined && version !== undefined && semver.gtr(least, version, { includePrerelease: true })) {
    return { key: ['match', 'version'], message: `minVersion allows ${plugin} only from ${least} on` };
  }
  return undefined;
}

function whyTaken(
  policy: PolicyDocument,
  rules: readonly PolicyRule[],
  rule: PolicyRule,
  index: number,
): Unreachable | undefined {
  const before = rules.flatMap((other, position) => (isBefore(other, position, rule, index) ? [position] : []));
  const takes = (position: number, match: PolicyMatch): boolean => {
    const other = rules[position];
    return other !== undefined && covers(other.match, match, other.deny === undefined ? 'grant' : 'denial');
  };
  const whole = before.find((position) => takes(position, rule.match));
  if (whole !== undefined) return { key: ['match'], message: takenBy([whole], rules) };
  const kinds = kindsOf(policy, rule.match);
  const takers = kinds.map((kind) => before.find((position) => takes(position, kind)));
  const all = takers.filter((position) => position !== undefined);
  if (kinds.length === 0 || all.length < kinds.length) return undefined;
  return {
    key: ['match'],
    message: takenBy(
      [...new Set(all)].sort((a, b) => a - b),
      rules,
    ),
  };
}

function isBefore(other: PolicyRule, position: number, rule: PolicyRule, index: number): boolean {
  if (position === index) return false;
  if (other.deny === undefined) return position < index && rule.deny === undefined;
  return rule.deny === undefined || position < index;
}

/** The match as narrower ones that hold together for exactly what it holds for. */
function kindsOf({ publishers = {} }: PolicyDocument, match: PolicyMatch): PolicyMatch[] {
  const unsigned: PolicyMatch[] =
    match.unsigned === false || match.publisher !== undefined ? [] : [{ ...match, unsigned: true }];
  const signed =
    match.unsigned === true
      ? []
      : Object.entries(publishers)
          .filter(([publisher]) => match.publisher === undefined || match.publisher === publisher)
          .flatMap(([publisher, { names }]) =>
            names.flatMap((name) => {
              const plugin = commonPattern(name, match.plugin ?? '*');
              return plugin === undefined ? [] : [{ ...match, publisher, plugin }];
            }),
          );
  return unsigned.length + signed.length > MAX_KINDS ? [match] : [...unsigned, ...signed];
}

function takenBy(positions: readonly number[], rules: readonly PolicyRule[]): string {
  const numbers = positions.map((position) => position + 1);
  const isDenied = positions.some((position) => rules[position]?.deny !== undefined);
  const first = numbers[0];
  if (numbers.length === 1) {
    return isDenied
      ? `rule ${first} denies all that it matches, and denials are looked at before the other rules`
      : `rule ${first} comes first and matches all that it matches`;
  }
  const list = `rules ${numbers.slice(0, -1).join(', ')} and ${numbers.at(-1)}`;
  return isDenied
    ? `${list} come first (a denial always does) and match all that it matches`
    : `${list} come first and match all that it matches`;
}
