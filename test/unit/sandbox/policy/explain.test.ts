/** A decision in words: why it came out like that, and the rule that would give the same. */

import { developerPolicy } from '@flowops/sandbox/policy/built-in.ts';
import { toPolicy } from '@flowops/sandbox/policy/compile.ts';
import type { PolicyRequest } from '@flowops/sandbox/policy/decision.ts';
import { explainDecision, pasteableRule, whyDecided } from '@flowops/sandbox/policy/explain.ts';
import { describe, expect, test } from 'vitest';
import { DIGEST_A, KEY_A, loadedOf, policyOf, problemsOfText, request } from './policy-text.ts';

const POLICY = `version: 1
publishers: { acme: { keys: [{ key: "${KEY_A}" }], names: ["acme.*"] } }
rules:
  - match: { plugin: "core.*", publisher: acme, unsigned: false, version: ">=2.0.0" }
    tier: container
  - match: { plugin: "acme.*", publisher: acme }
    tier: isolate
    freshness: context
    grants: { wasm: true, net: ["private:db.internal:5432"], secrets: [{ name: T, hosts: ["private:db.internal:5432"] }] }
    container: { runtime: runsc, cpus: 0.5 }
    onViolation: { demote: 3 }
`.replace('core.*', 'acme.http');

function explain(changes: Partial<PolicyRequest>, more: { violations?: number; signatureProblem?: string } = {}) {
  const { compiled, policy } = loadedOf(POLICY);
  const asked = request(changes);
  const { violations = 0, signatureProblem } = more;
  return explainDecision({
    request: asked,
    decision: policy.decide(asked),
    why: whyDecided(compiled, asked),
    isNamed: compiled.plugins.has(asked.pluginId),
    ...{ violations, signatureProblem },
  });
}

const ACME = {
  name: 'acme.http',
  publisher: 'acme',
  permissions: { net: ['private:db.internal:5432'], secrets: ['T'] },
};

test('an explanation tells whose it is, the rule, why the rules before it did not match, and all that it gives', () => {
  const text = explain({ ...ACME, pluginId: 'acme-1' }, { violations: 2 });
  expect(text.split('\n\n')[0]).toBe(`acme.http 1.0.0, published as acme-1, signed by acme
  ${DIGEST_A}
decided by rule 2 (sandbox-policy.yaml:6)
  rule 1 (sandbox-policy.yaml:4) does not match: version is >=2.0.0, and its version is 1.0.0
  rule 2 (sandbox-policy.yaml:6) is the first that matches
  policy      ${policyOf(POLICY).policyHash}
  tier        isolate
  jail        required
  freshness   context
  memoryMb    128
  cpuMs       10000
  wallMs      30000
  outputBytes 1048576
  logBytes    65536
  hostCalls   1000
  concurrent  4
  network     private:db.internal:5432
  secrets     T (to private:db.internal:5432)
  WebAssembly yes
  container   runsc, 256 pids, 0.5 cpus, 16 MB of /tmp
  violations  2 of 3, then to the container tier
  name        the first use here keeps it as the name of acme-1`);
});

test('an explanation tells of a demotion and of a name that was agreed to', () => {
  const demotion = { violations: 3, code: 'LIMIT_CPU', since: '2026-01-01T00:00:00.000Z' } as const;
  const text = explain({ ...ACME, history: { agreedName: 'acme.http', demotion } });
  expect(text).toContain('decided by rule 2 (sandbox-policy.yaml:6) (demoted after 3 violations)\n');
  expect(text).toContain('  tier        container\n');
  expect(text).toContain(
    '  violations  demoted to the container tier since 2026-01-01T00:00:00.000Z (the last of 3: LIMIT_CPU); to lift: flowops policy demotions --lift acme.http\n',
  );
  expect(text).toContain('  name        the one that core.hello was first used under here, or that was agreed to\n');
});

test('an explanation of an unsigned plugin says why its signature does not count, and where no rule matches', () => {
  const text = explain({ name: 'acme.http' }, { signatureProblem: 'its key 0123456789abcdef is revoked' });
  expect(text).toContain('unsigned\n');
  expect(text).toContain('  counts as unsigned: its key 0123456789abcdef is revoked\n');
  expect(text).toContain(
    '  rule 2 (sandbox-policy.yaml:6) does not match: publisher is acme, and the plugin is unsigned\n',
  );
  expect(text).toContain('  no rule matches: the defaults decide\n');
});

test('an explanation of a refusal says what to change', () => {
  const text = explain({ ...ACME, permissions: { net: ['x.example:443'], secrets: [] } });
  expect(text).toMatch(/\nrefused: POLICY_DENIED: acme.http asked for x.example:443; rule 2 .* To allow: grants: /);
});

describe('the rule to paste', () => {
  test.each([
    ['of a signed plugin with everything', ACME],
    ['of one that no rule matches', { name: 'core.other' }],
  ])('%s gives the same again', (_title, changes: Partial<PolicyRequest>) => {
    const asked = request(changes);
    const given = policyOf(POLICY).decide(asked);
    if (given.kind === 'refuse') expect.fail(given.message);
    const yaml = POLICY.replace('rules:\n', `rules:\n${pasteableRule(asked, given)}\n`);
    expect(problemsOfText(yaml)).toEqual([]);
    expect({ ...policyOf(yaml).decide(asked), rule: '', policyHash: '' }).toEqual({
      ...given,
      rule: '',
      policyHash: '',
    });
  });

  test('of the developer policy loads too', () => {
    const asked = request({ permissions: { net: ['a.example:443'], secrets: ['T'] } });
    const given = toPolicy(developerPolicy()).decide(asked);
    if (given.kind === 'refuse') expect.fail(given.message);
    expect(problemsOfText(`version: 1\nrules:\n${pasteableRule(asked, given)}\n`)).toEqual([]);
  });
});
