/**
 * What `publishers`, `revoked.keys` and `tests.publisher` mean together: a key belongs to one publisher. A key that was
 * revoked or is out of date is no error, since a revocation has to load at once; it is a warning. Pure.
 */
import { parsePublicKey } from '@flowops/proto/bundle-signature.ts';
import { lastMomentOf } from './identify.ts';
import { matchesPattern } from './match.ts';
import type { RuleProblem } from './rules-check.ts';
import type { PolicyDocument } from './schema.ts';

const DAY_MS = 86_400_000;
/** Soon enough to rotate a key without haste. */
const WARN_BEFORE_DAYS = 30;

export function checkPublishers(policy: PolicyDocument): RuleProblem[] {
  return [...checkKeys(policy), ...checkTestPublishers(policy)];
}

function checkKeys({ publishers = {} }: PolicyDocument): RuleProblem[] {
  const owners = new Map<string, string>();
  const found: RuleProblem[] = [];
  for (const [publisher, { keys }] of Object.entries(publishers)) {
    for (const [index, { key }] of keys.entries()) {
      const owner = owners.get(key);
      if (owner !== undefined) {
        const message =
          owner === publisher ? 'this key is listed twice' : `this key is ${owner}'s; a key belongs to one publisher`;
        found.push({ path: ['publishers', publisher, 'keys', index, 'key'], message });
      }
      owners.set(key, owner ?? publisher);
    }
  }
  return found;
}

function checkTestPublishers({ publishers = {}, tests = [] }: PolicyDocument): RuleProblem[] {
  return tests.flatMap(({ publisher, plugin }, index) => {
    if (publisher === undefined) return [];
    const path = ['tests', index, 'publisher'];
    const names = Object.hasOwn(publishers, publisher) ? publishers[publisher]?.names : undefined;
    if (names === undefined) return [{ path, message: `publishers has no ${publisher}` }];
    if (names.some((name) => matchesPattern(name, plugin))) return [];
    const message = `${publisher} publishes only ${names.join(', ')}; under its key ${plugin} counts as unsigned`;
    return [{ path, message }];
  });
}

export function publisherWarnings({ publishers = {}, revoked }: PolicyDocument, nowMs: number): RuleProblem[] {
  const isRevoked = (key: string) => (revoked?.keys ?? []).some((one) => one === key || one === keyIdOf(key));
  const found: RuleProblem[] = [];
  for (const [publisher, { keys }] of Object.entries(publishers)) {
    const path = ['publishers', publisher, 'keys'];
    const last = Math.max(...keys.map(({ key, notAfter }) => (isRevoked(key) ? -Infinity : lastMomentOf(notAfter))));
    if (last === -Infinity)
      found.push({ path, message: `every key of ${publisher} is revoked: its plugins count as unsigned` });
    else if (last < nowMs)
      found.push({ path, message: `no key of ${publisher} is valid any more: its plugins count as unsigned` });
    else if (last < nowMs + WARN_BEFORE_DAYS * DAY_MS) {
      const date = new Date(last).toISOString().slice(0, 10);
      found.push({ path, message: `the last key of ${publisher} ends on ${date}; then its plugins count as unsigned` });
    }
  }
  return found;
}

function keyIdOf(key: string): string | undefined {
  const parsed = parsePublicKey(key);
  return parsed.ok ? parsed.value.keyId : undefined;
}
