/** Ways for tests to write a policy and to ask it. */
import type { Policy, PolicyRequest } from '@flowops/sandbox/policy/decision.ts';
import { formatProblem } from '@flowops/sandbox/policy/document.ts';
import { parsePolicy } from '@flowops/sandbox/policy/load.ts';
import { expect } from 'vitest';

export const DIGEST_A = `sha256:${'a'.repeat(64)}`;
export const DIGEST_B = `sha256:${'b'.repeat(64)}`;
export const UUID = '0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01';
const MACHINE = { memoryMb: 4096 };

export function problemsOfText(source: string): string[] {
  const result = parsePolicy('sandbox-policy.yaml', source, MACHINE);
  return result.ok ? [] : result.problems.map(formatProblem);
}

export function policyOf(source: string): Policy {
  const result = parsePolicy('sandbox-policy.yaml', source, MACHINE);
  if (!result.ok) expect.fail(result.problems.map(formatProblem).join('\n'));
  return result.policy;
}

export function request(changes: Partial<PolicyRequest> = {}): PolicyRequest {
  return {
    pluginId: 'core.hello',
    name: 'core.hello',
    version: '1.0.0',
    digest: DIGEST_A,
    publisher: undefined,
    permissions: { net: [], secrets: [] },
    ...changes,
  };
}
