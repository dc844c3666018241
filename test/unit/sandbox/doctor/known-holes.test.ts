import { holesByRuntime, KNOWN_HOLES, knownHoles } from '@flowops/sandbox/doctor/known-holes.ts';
import { describe, expect, test } from 'vitest';

const idsOf = (versions: Parameters<typeof knownHoles>[0]) => knownHoles(versions).map(({ id }) => id);

test.each([
  ['1.1.11', ['CVE-2024-21626', 'CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881']],
  ['1.1.12', ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881']],
  ['1.2.7', ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881']],
  ['1.2.8', []],
  ['1.3.2', ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881']],
  ['1.3.3', []],
  ['1.4.0-rc.2', ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881']],
  ['1.4.0-rc.3', []],
  ['1.4.0', []],
  ['2.0.0', []],
])('runc %s has %j', (runc, ids) => {
  expect(idsOf({ runc })).toEqual(ids);
});

test.each([
  ['5.15.19', ['CVE-2022-0492', 'CVE-2022-0847', 'CVE-2024-1086', 'CVE-2026-31431']],
  ['6.1.75-cloud-amd64', ['CVE-2024-1086', 'CVE-2026-31431']],
  ['6.6.15', ['CVE-2026-31431']],
  ['6.6.137', []],
  ['6.18.44', []],
  ['7.1.0', []],
  ['4.9.301', ['CVE-2024-1086']],
])('the kernel %s has %j', (kernel, ids) => {
  expect(idsOf({ kernel })).toEqual(ids);
});

describe('a version of a distribution', () => {
  const [finding] = knownHoles({ runc: '1.1.5+ds1-1+deb12u1' });

  test('is named, and that it may hold the fix all the same', () => {
    expect(finding).toMatchObject({ id: 'CVE-2024-21626', mayBeBackported: true });
    expect(finding?.message).toContain('its changelog tells, the version does not');
    expect(finding?.message).toContain('Fixed in 1.1.12');
    expect(finding?.message).toContain(
      'https://github.com/opencontainers/runc/security/advisories/GHSA-xr7r-f8xq-vfvv',
    );
  });

  test('is read with its marks: 0.0~20221219.0, release-20250505.0', () => {
    expect(idsOf({ runsc: '0.0~20221219.0' })).toEqual(['CVE-2025-2713']);
    expect(idsOf({ runsc: 'release-20250505.0' })).toEqual([]);
    expect(idsOf({ containerd: '1.6.20~ds1', docker: '20.10.24+dfsg1' })).toEqual([]);
  });
});

test('what cannot be read as a version says nothing', () => {
  expect(knownHoles({ runc: 'unknown', kernel: '', docker: 'dev' })).toEqual([]);
});

test('a hole of runc is not held against gVisor, one of the kernel against both', () => {
  const findings = knownHoles({ runc: '1.1.5', kernel: '6.6.15' });
  const held = holesByRuntime(findings, ['runc', 'runsc', 'io.containerd.runc.v2']);
  expect(held.filter(({ runtime }) => runtime === 'runsc').map(({ hole }) => hole.split(' ')[0])).toEqual([
    'CVE-2026-31431',
  ]);
  expect(held.filter(({ runtime }) => runtime === 'runc')).toHaveLength(5);
});

test('every entry has a fix, words and an advisory', () => {
  for (const { id, what, fixed, advisory } of KNOWN_HOLES) {
    expect(id).toMatch(/^CVE-\d{4}-\d+$/);
    expect(what.length).toBeGreaterThan(10);
    expect(fixed.length).toBeGreaterThan(0);
    expect(advisory).toMatch(/^https:\/\//);
  }
});
