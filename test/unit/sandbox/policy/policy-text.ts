/** Ways for tests to write a policy and to ask it. */
import type { Policy, PolicyRequest } from '@flowops/sandbox/policy/decision.ts';
import { formatProblem } from '@flowops/sandbox/policy/document.ts';
import { type LoadedPolicy, parsePolicy } from '@flowops/sandbox/policy/load.ts';
import type { Machine } from '@flowops/sandbox/policy/machine.ts';
import { expect } from 'vitest';

export const DIGEST_A = `sha256:${'a'.repeat(64)}`;
export const DIGEST_B = `sha256:${'b'.repeat(64)}`;
export const UUID = '0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01';
/** Public keys made for these tests; nobody has their private halves. */
export const KEY_A = 'ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=';
export const KEY_B = 'ed25519:PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=';
export const MACHINE: Machine = { memoryMb: 4096, cores: 4 };

export function problemsOfText(source: string, machine: Machine = MACHINE): string[] {
  const result = parsePolicy('sandbox-policy.yaml', source, machine);
  return result.ok ? [] : result.problems.map(formatProblem);
}

export function loadedOf(source: string, machine: Machine = MACHINE): LoadedPolicy {
  const result = parsePolicy('sandbox-policy.yaml', source, machine);
  if (!result.ok) expect.fail(result.problems.map(formatProblem).join('\n'));
  return result;
}

export function warningsOf(source: string, machine: Machine = MACHINE): string[] {
  return loadedOf(source, machine).warnings.map(formatProblem);
}

export function policyOf(source: string): Policy {
  return loadedOf(source).policy;
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
