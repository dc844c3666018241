/** What another policy would change for the plugins there are. */
import type { SignedClaim } from '@flowops/sandbox/policy/decision.ts';
import { changeOf, type DiffSubject } from '@flowops/sandbox/policy/diff.ts';
import { expect, test } from 'vitest';
import { DIGEST_A, KEY_A, loadedOf } from './policy-text.ts';

const RULES = `version: 1
rules:
  - match: { plugin: "acme.*", unsigned: true }
    tier: isolate
    limits: { memoryMb: 64 }
    grants: { net: ["a.example:443"], secrets: [{ name: T, hosts: ["a.example:443"] }] }
`;

function diff(former: string, next: string, changes: Partial<DiffSubject> = {}) {
  const claim: SignedClaim = { name: 'acme.x', version: '1.0.0', digest: DIGEST_A, signature: '' };
  const subject: DiffSubject = { pluginId: 'acme.x', claim, permissions: { net: [], secrets: [] }, ...changes };
  const sides = [former, next].map((source) => {
    const { compiled, policy } = loadedOf(source);
    return { compiled, identify: (asked: SignedClaim) => policy.identify(asked, 0) };
  });
  const [a, b] = sides;
  if (a === undefined || b === undefined) expect.fail('two policies');
  return changeOf(subject, a, b)?.fields;
}

test('a policy that says the same in other places and words changes nothing', () => {
  const moved = RULES.replace(
    'rules:\n',
    'rules:\n  - match: { plugin: other, unsigned: true }\n    tier: container\n',
  );
  expect(diff(RULES, moved)).toBeUndefined();
  expect(diff(RULES, `# a comment\n${RULES}`)).toBeUndefined();
});

test('every field that would be different is named with both values', () => {
  const next = `version: 1
rules:
  - match: { plugin: "acme.*", unsigned: true }
    tier: container
    limits: { memoryMb: 128 }
    container: { runtime: runsc }
    concurrent: 2
    grants: { wasm: true, net: ["a.example:443", "b.example:443"], secrets: [{ name: T, hosts: ["b.example:443"] }] }
`;
  const permissions = { net: ['a.example:443'], secrets: ['T'] };
  expect(diff(RULES, next, { permissions })?.map(({ field, old, new: now }) => `${field}: ${old} → ${now}`)).toEqual([
    'tier: isolate → container',
    'limits.memoryMb: 64 → 128',
    'grants.secrets: T → a.example:443 → T → b.example:443',
    'grants.wasm: false → true',
    'container.runtime: runc → runsc',
    'container.pids: 64 → 256',
    'concurrent: 4 → 2',
  ]);
});

test('another rule that gives the same is a change, since it may stop giving it', () => {
  const next = RULES.replace('plugin: "acme.*"', 'plugin: "acme.x"');
  expect(diff(RULES, next)).toEqual([
    { field: 'rule', old: 'rule 1 (sandbox-policy.yaml:3)', new: 'rule 1 (sandbox-policy.yaml:3)' },
  ]);
});

test('a plugin that would be refused, and one that would not be any more, are told with the reason', () => {
  const denied = `${RULES}  - match: { plugin: acme.x }\n    deny: "no"\n`;
  expect(diff(RULES, denied)).toEqual([
    {
      field: 'runs',
      old: 'yes, in the isolate tier by rule 1 (sandbox-policy.yaml:3)',
      new: 'no: acme.x 1.0.0 is denied by rule 2 (sandbox-policy.yaml:7): no',
    },
  ]);
  expect(diff(denied, RULES)?.[0]?.old).toMatch(/^no: /);
  expect(diff(denied, `${denied}minVersion: { acme.x: 2.0.0 }\n`)).toBeUndefined();
  const permissions = { net: ['b.example:443'], secrets: [] };
  expect(diff(RULES.replace('a.example:443"], s', 'b.example:443"], s'), RULES, { permissions })?.[0]?.field).toBe(
    'runs',
  );
});

test('a plugin whose publisher the new policy no longer knows is told as unsigned', () => {
  const signed = `version: 1\npublishers: { acme: { keys: [{ key: "${KEY_A}" }], names: ["acme.*"] } }\n`;
  const claim: SignedClaim = { name: 'acme.x', version: '1.0.0', digest: DIGEST_A, signature: 'signed' };
  const side = (source: string, publisher: string | undefined) => ({
    compiled: loadedOf(source).compiled,
    identify: () => ({ publisher, problem: undefined }),
  });
  const subject = { pluginId: 'acme.x', claim, permissions: { net: [], secrets: [] } };
  const change = changeOf(subject, side(signed, 'acme'), side('version: 1', undefined));
  expect(change?.fields).toEqual([{ field: 'publisher', old: 'acme', new: 'unsigned' }]);
});
