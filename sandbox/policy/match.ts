/**
 * Whether a rule's `match` holds for a plugin, and whether one match covers another. Pure.
 *
 * Case-sensitive; `*` only at the end. A denial reads generously what a grant reads exactly: a UUID in any letter case
 * is the same id, and a range covers pre-releases, so that neither is a way around it.
 */
import semver from 'semver';
import type { PolicyMatch } from './schema.ts';

export interface MatchSubject {
  readonly pluginId: string;
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly publisher: string | undefined;
}

export type Reading = 'grant' | 'denial';

/** All keys of the match hold; an empty match holds for everything. */
export function matches(match: PolicyMatch, subject: MatchSubject, reading: Reading): boolean {
  return (
    (match.plugin === undefined || matchesPattern(match.plugin, subject.name)) &&
    (match.id === undefined || isSameId(match.id, subject.pluginId, reading)) &&
    (match.version === undefined ||
      semver.satisfies(subject.version, match.version, { includePrerelease: reading === 'denial' })) &&
    (match.digest === undefined || match.digest === subject.digest) &&
    (match.publisher === undefined || match.publisher === subject.publisher) &&
    (match.unsigned === undefined || match.unsigned === (subject.publisher === undefined))
  );
}

export function matchesPattern(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

export function isSameId(a: string, b: string, reading: Reading): boolean {
  return a === b || (reading === 'denial' && a.toLowerCase() === b.toLowerCase());
}

/** Whether everything that `inner` matches is matched by `outer` too. Errs to false. */
export function covers(outer: PolicyMatch, inner: PolicyMatch, reading: Reading): boolean {
  const innerSigned = inner.unsigned === undefined && inner.publisher !== undefined ? false : inner.unsigned;
  return (
    (outer.plugin === undefined || (inner.plugin !== undefined && coversPattern(outer.plugin, inner.plugin))) &&
    (outer.id === undefined || (inner.id !== undefined && isSameId(outer.id, inner.id, reading))) &&
    (outer.digest === undefined || outer.digest === inner.digest) &&
    (outer.publisher === undefined || outer.publisher === inner.publisher) &&
    (outer.unsigned === undefined || outer.unsigned === innerSigned) &&
    // Last: comparing ranges costs a hundred times what the others do.
    (outer.version === undefined || (inner.version !== undefined && coversRange(outer.version, inner.version, reading)))
  );
}

/** Why a match does not hold, by its first key that does not; undefined when it holds. For people. */
export function whyNot(match: PolicyMatch, subject: MatchSubject, reading: Reading): string | undefined {
  const { pluginId, name, version, digest, publisher } = subject;
  const signed = publisher === undefined ? 'the plugin is unsigned' : `the plugin is signed by ${publisher}`;
  const told: readonly (readonly [keyof PolicyMatch, string])[] = [
    ['plugin', `its name is ${name}`],
    ['id', `its pluginId is ${pluginId}`],
    ['version', `its version is ${version}`],
    ['digest', `its digest is ${digest}`],
    ['publisher', signed],
    ['unsigned', signed],
  ];
  const wrong = told.find(([key]) => match[key] !== undefined && !matches({ [key]: match[key] }, subject, reading));
  return wrong === undefined ? undefined : `${wrong[0]} is ${String(match[wrong[0]])}, and ${wrong[1]}`;
}

/** What two patterns have in common is the narrower of them, or nothing. */
export function commonPattern(a: string, b: string): string | undefined {
  if (coversPattern(a, b)) return b;
  return coversPattern(b, a) ? a : undefined;
}

function coversPattern(outer: string, inner: string): boolean {
  if (!outer.endsWith('*')) return outer === inner;
  return (inner.endsWith('*') ? inner.slice(0, -1) : inner).startsWith(outer.slice(0, -1));
}

function coversRange(outer: string, inner: string, reading: Reading): boolean {
  return outer === inner || semver.subset(inner, outer, { includePrerelease: reading === 'denial' });
}
