import { bundleOf } from '@flowops/sandbox/doctor/bundle.ts';
import type { Place } from '@flowops/sandbox/doctor/case.ts';
import { HOSTILE_CASES } from '@flowops/sandbox/doctor/catalogue.ts';
import { casesAt } from '@flowops/sandbox/doctor/doctor.ts';
import { makeSigner } from '@flowops/sandbox/doctor/signer.ts';
import { policyText, TEST_LIMITS } from '@flowops/sandbox/doctor/test-policy.ts';
import { parsePolicy } from '@flowops/sandbox/policy/load.ts';
import { expect, test } from 'vitest';

/** Of 68 those that a machine can be tried with: 48 to 55 are the operators' bad days, tried by the tests of the engine. */
const NUMBERS = [...Array(68).keys()].map((n) => n + 1).filter((n) => n < 48 || n > 55);
const PLACES: readonly Place[] = [
  { tier: 'isolate', runtime: 'isolated-vm' },
  { tier: 'container', runtime: 'runc' },
  { tier: 'container', runtime: 'runsc' },
  { tier: 'host', runtime: 'node' },
];

test('every case but the bad days of operators is tried somewhere', () => {
  const tried = new Set(HOSTILE_CASES.map(({ id }) => Number(id)));
  expect(NUMBERS.filter((number) => !tried.has(number))).toEqual([]);
  expect([...tried].filter((id) => !NUMBERS.includes(id))).toEqual([]);
});

test.each(PLACES)('no case is listed twice for $runtime', (place) => {
  const ids = casesAt(HOSTILE_CASES, place).map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.length).toBeGreaterThan(5);
});

test('every attempt makes a bundle and a policy that load', () => {
  for (const place of PLACES) {
    if (place.tier === 'host') continue;
    const around = { runtime: place.runtime, origin: '127.0.0.1:1', forbidden: '127.0.0.1:2' };
    const plugins = casesAt(HOSTILE_CASES, place).flatMap((hostile) => {
      if (hostile.kind === 'host') return [];
      const attempts = typeof hostile.attempts === 'function' ? hostile.attempts(around) : hostile.attempts;
      return attempts.map((attempt, index) => ({ name: `doctor.c${hostile.id}-${index}`, attempt }));
    });
    for (const { name, attempt } of plugins) expect(bundleOf(name, attempt).manifest.name).toBe(name);
    const loaded = parsePolicy('policy.yaml', policyText(plugins, place, makeSigner().key));
    expect(loaded.ok ? [] : loaded.problems.map(({ message }) => message)).toEqual([]);
  }
  expect(TEST_LIMITS.memoryMb).toBe(64);
});
