/** The policies that need no file. */
import { developerPolicy, strictPolicy } from '@flowops/sandbox/policy/built-in.ts';
import { describeDeveloperPolicy } from '@flowops/sandbox/policy/developer-text.ts';
import { expect, test } from 'vitest';

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
