import { explainEnd } from '@flowops/sandbox/steps/explain-end.ts';
import type { TierRequest } from '@flowops/sandbox/tier.ts';
import { expect, test } from 'vitest';

const LIMITS = { memoryMb: 64, cpuMs: 200, wallMs: 1000, outputBytes: 4096, logBytes: 512, hostCalls: 7 };
// Only what the sentence is made of.
const REQUEST = {
  stepId: 'notify',
  limits: LIMITS,
  rule: 'rule 2 (sandbox-policy.yaml:14)',
  bundle: { manifest: { name: 'acme.slack' } },
} as TierRequest;

test.each([
  ['LIMIT_WALL', 'raise limits.wallMs (1000) in rule 2 (sandbox-policy.yaml:14)'],
  ['LIMIT_CPU', 'raise limits.cpuMs (200) in rule 2 (sandbox-policy.yaml:14)'],
  ['LIMIT_MEMORY', 'raise limits.memoryMb (64) in rule 2 (sandbox-policy.yaml:14)'],
  ['LIMIT_OUTPUT', 'raise limits.outputBytes (4096) in rule 2 (sandbox-policy.yaml:14)'],
  ['LIMIT_LOG', 'limits.logBytes is 512 in rule 2 (sandbox-policy.yaml:14)'],
  ['LIMIT_HOST_CALLS', 'raise limits.hostCalls (7) in rule 2 (sandbox-policy.yaml:14)'],
] as const)('%s names the step, the plugin, and the key and line to change', (code, way) => {
  const sentence = explainEnd(code, 'it went on too long', REQUEST);
  expect(sentence).toMatch(/^step notify \(acme\.slack\) was ended: it went on too long\. /);
  expect(sentence).toContain(way);
});
