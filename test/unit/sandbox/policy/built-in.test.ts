/** The policies that need no file, and decisions in words. */
import { developerPolicy, strictPolicy } from '@flowops/sandbox/policy/built-in.ts';
import { toPolicy } from '@flowops/sandbox/policy/compile.ts';
import { describeDeveloperPolicy } from '@flowops/sandbox/policy/developer-text.ts';
import { explainDecision } from '@flowops/sandbox/policy/explain.ts';
import { describe, expect, test } from 'vitest';
import { DIGEST_A, policyOf, problemsOfText, request } from './policy-text.ts';

test('two developer policies for different folders are told apart, and both from the strict one', () => {
  const hashes = [developerPolicy(), developerPolicy(['/a']), developerPolicy(['/b']), strictPolicy()];
  expect(new Set(hashes.map(({ policyHash }) => policyHash)).size).toBe(4);
});

test('the developer policy is described with its limits and what the manifest asks for', () => {
  expect(describeDeveloperPolicy()).toEqual([
    'developer policy (for your own plugins; give --policy FILE to use another):',
    '  isolate tier, 128 MB, 10 s of CPU, 30 s in all; jailed where this machine can',
    '  granted: nothing, and nothing is asked for',
  ]);
  expect(describeDeveloperPolicy({ net: ['a.example:443'], secrets: ['TOKEN'] }).at(-1)).toBe(
    '  granted as the manifest asks: a.example:443, secret TOKEN',
  );
});

describe('an explanation', () => {
  const policy = policyOf('version: 1\nrules:\n  - match: { id: "acme-1" }\n    tier: container\n');

  test('names rule, tier and limits, and ends with a rule that gives the same', () => {
    const asked = request({ pluginId: 'acme-1' });
    const text = explainDecision(asked, policy.decide(asked));
    expect(text).toContain('core.hello 1.0.0, published as acme-1, unsigned');
    expect(text).toContain('decided by rule 1 (sandbox-policy.yaml:3) (the first that matches)');
    const pasted = text.slice(text.indexOf('  - match:'));
    const yaml = `version: 1\nrules:\n${pasted}\n`;
    expect(problemsOfText(yaml)).toEqual([]);
    const again = policyOf(yaml).decide(asked);
    expect({ ...again, rule: '', policyHash: '' }).toEqual({ ...policy.decide(asked), rule: '', policyHash: '' });
  });

  test('of what an isolate rule gives can be pasted too', () => {
    const asked = request({ digest: DIGEST_A });
    const given = toPolicy(developerPolicy()).decide(asked);
    const text = explainDecision(asked, given);
    expect(problemsOfText(`version: 1\nrules:\n${text.slice(text.indexOf('  - match:'))}\n`)).toEqual([]);
  });

  test('of a refusal says why', () => {
    const asked = request({ permissions: { net: ['x.example:443'], secrets: [] } });
    expect(explainDecision(asked, policy.decide(asked))).toMatch(
      /\nrefused: POLICY_DENIED: core.hello asked for x.example:443; defaults grants/,
    );
  });
});
