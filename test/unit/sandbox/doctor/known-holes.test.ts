import { exceptedHoles, holesByRuntime, holesUnderIsolates, knownHoles } from '@flowops/sandbox/doctor/known-holes.ts';
import { KNOWN_HOLES } from '@flowops/sandbox/doctor/published-holes.ts';
import { describe, expect, test } from 'vitest';

const idsOf = (versions: Parameters<typeof knownHoles>[0]) => knownHoles(versions).map(({ id }) => id);
/** The three of November 2025 and the one of June 2026. */
const RUNC_2025 = ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881'];
const SYMLINK = 'CVE-2026-41579';

test.each([
  ['1.0.0-rc6', ['CVE-2019-5736', 'CVE-2021-30465', ...RUNC_2025, SYMLINK]],
  ['1.0.0-rc10', ['CVE-2021-30465', ...RUNC_2025, SYMLINK]],
  ['1.0.0-rc92', ['CVE-2021-30465', ...RUNC_2025, SYMLINK]],
  ['1.0.0-rc93', ['CVE-2021-30465', 'CVE-2024-21626', ...RUNC_2025, SYMLINK]],
  ['1.0.0-rc95', ['CVE-2024-21626', ...RUNC_2025, SYMLINK]],
  ['1.1.11', ['CVE-2024-21626', ...RUNC_2025, SYMLINK]],
  ['1.1.12', [...RUNC_2025, SYMLINK]],
  ['1.2.0-rc.1', [...RUNC_2025, SYMLINK]],
  ['1.2.7', [...RUNC_2025, SYMLINK]],
  ['1.2.8', [SYMLINK]],
  ['1.3.2', [...RUNC_2025, SYMLINK]],
  ['1.3.3', [SYMLINK]],
  ['1.3.6', []],
  ['1.4.0-rc.2', [...RUNC_2025, SYMLINK]],
  ['1.4.0-rc.3', [SYMLINK]],
  ['1.4.3', []],
  ['1.5.0-rc.2', [SYMLINK]],
  ['1.5.2', []],
  ['2.0.0', []],
])('runc %s has %j', (runc, ids) => {
  expect(idsOf({ runc })).toEqual(ids);
});

test.each([
  ['2.6.18', []],
  ['4.9.301', ['CVE-2024-1086']],
  ['5.4.268', ['CVE-2024-1086', 'CVE-2026-31431', 'CVE-2026-43284']],
  ['5.10.92', ['CVE-2022-0185', 'CVE-2022-0492', 'CVE-2022-0847', 'CVE-2024-1086', 'CVE-2026-31431', 'CVE-2026-43284']],
  ['5.10.210', ['CVE-2026-31431', 'CVE-2026-43284']],
  ['5.15.19', ['CVE-2022-0492', 'CVE-2022-0847', 'CVE-2024-1086', 'CVE-2026-31431', 'CVE-2026-43284']],
  ['5.15.205', ['CVE-2026-43284']],
  ['5.15.206', []],
  // a branch that ended without a repair of its own
  ['5.19.17', ['CVE-2024-1086', 'CVE-2026-31431', 'CVE-2026-43284']],
  ['6.6.15', ['CVE-2026-31431', 'CVE-2026-43284']],
  ['6.6.138', []],
  ['6.18.44', []],
  ['6.18.44-fc-v669', []],
  ['7.0.0-rc3', ['CVE-2026-43284']],
  ['7.1.0', []],
])('the kernel %s has %j', (kernel, ids) => {
  expect(idsOf({ kernel })).toEqual(ids);
});

test.each([
  ['19.03.0', 'CVE-2019-14271', true],
  ['19.03.1', 'CVE-2019-14271', false],
  ['18.09.9', 'CVE-2019-14271', false],
  ['20.10.8', 'CVE-2021-41091', true],
  ['20.10.9', 'CVE-2021-41091', false],
  ['28.5.2', 'CVE-2026-41568', true],
  ['29.5.0', 'CVE-2026-41568', true],
  ['29.5.1', 'CVE-2026-41568', false],
  ['29.3.0', 'CVE-2026-34040', true],
  ['29.4.0', 'CVE-2026-34040', false],
])('Docker %s and %s: %j', (docker, id, has) => {
  expect(idsOf({ docker }).includes(id)).toBe(has);
});

test.each([
  ['1.4.12', ['CVE-2022-23648']],
  ['1.5.9', ['CVE-2022-23648']],
  ['1.6.20~ds1', []],
  ['2.1.0', []],
])('containerd %s has %j', (containerd, ids) => {
  expect(idsOf({ containerd })).toEqual(ids);
});

test.each([
  ['0.0~20221219.0', ['CVE-2025-2713']],
  ['release-20250305.0', ['CVE-2025-2713']],
  ['release-20250319.0', []],
  ['release-20250319.0-12-gabcdef012345', []],
])('gVisor %s has %j', (runsc, ids) => {
  expect(idsOf({ runsc })).toEqual(ids);
});

test.each([
  ['24.12.0', ['CVE-2025-55130', 'CVE-2026-48617']],
  ['24.13.1', ['CVE-2026-48617']],
  ['24.21.0', []],
  // each major line has its own repair: 24 is not older than 26 for being below it
  ['26.3.0', ['CVE-2026-48617']],
  ['26.3.1', []],
])('Node.js %s has %j, and neither is held against a policy: the jail does not rest on --permission', (node, ids) => {
  expect(idsOf({ node })).toEqual(ids);
  expect(holesUnderIsolates(knownHoles({ node }))).toEqual([]);
});

describe('a version of a distribution', () => {
  const [finding] = knownHoles({ runc: '1.1.5+ds1-1+deb12u1' });

  test('is named, what to do about it, and that it may hold the fix all the same', () => {
    expect(finding).toMatchObject({ id: 'CVE-2024-21626', mayBeBackported: true });
    expect(finding?.message).toContain('its changelog tells, the version does not');
    expect(finding?.message).toContain('Fixed in 1.1.12');
    expect(finding?.message).toContain('To close it: update runc');
    expect(finding?.message).toContain(
      'https://github.com/opencontainers/runc/security/advisories/GHSA-xr7r-f8xq-vfvv',
    );
  });

  test('of a kernel that tells its branch only is said to tell no more than that', () => {
    const [found] = knownHoles({ kernel: '5.14.0-611.el9.x86_64' });
    expect(found).toMatchObject({ mayBeBackported: true });
    expect(found?.message).toContain('tells its branch only');
    expect(found?.message).not.toContain('looks like a package');
  });

  test("of Debian's kernel is compared by the release that uname -v names, not by the number of its interface", () => {
    expect(idsOf({ kernel: '6.1.0-18-amd64 (Debian 6.1.76-1)' })).toEqual(['CVE-2026-31431', 'CVE-2026-43284']);
    expect(idsOf({ kernel: '6.1.0-18-amd64' })).toContain('CVE-2024-1086');
    expect(idsOf({ kernel: '6.1.0-40-amd64 (Debian 6.1.172-1)' })).toEqual([]);
  });
});

test('what cannot be read as a version says nothing', () => {
  expect(knownHoles({ runc: 'unknown', kernel: '', docker: 'dev' })).toEqual([]);
});

describe('what is held against a policy', () => {
  const holdIds = (held: { runtime: string; hole: string }[], of: string) =>
    held.filter(({ runtime }) => runtime === of).map(({ hole }) => hole.split(' ')[0]);

  test('a hole of runc is not held against gVisor, one of the kernel against both and against isolates', () => {
    const findings = knownHoles({ runc: '1.1.5', kernel: '6.6.137' });
    const held = holesByRuntime(findings, ['runc', 'runsc', 'io.containerd.runc.v2']);
    expect(holdIds(held, 'runsc')).toEqual(['CVE-2026-43284']);
    expect(holdIds(held, 'runc')).toEqual(['CVE-2024-21626', 'CVE-2025-31133', 'CVE-2025-52881', 'CVE-2026-43284']);
    expect(holesUnderIsolates(findings).map((hole) => hole.split(' ')[0])).toEqual(['CVE-2026-43284']);
  });

  test('a hole that takes what no step container has is named only, and its sentence says what it takes', () => {
    const findings = knownHoles({ docker: '29.5.0', runc: '1.3.4' });
    expect(exceptedHoles(findings)).toEqual([
      `${SYMLINK} (runc 1.3.4)`,
      'CVE-2026-41567 (Docker 29.5.0)',
      'CVE-2026-42306 (Docker 29.5.0)',
    ]);
    expect(holdIds(holesByRuntime(findings, ['runc']), 'runc')).toEqual(['CVE-2026-41568']);
    const symlink = findings.find(({ id }) => id === SYMLINK)?.message;
    expect(symlink).toContain('Only named here: it takes an image of the attacker');
    expect(symlink).toContain('as others tell; its advisory was not at hand');
  });

  test('each kernel counts for its own guests where containers run on another one', () => {
    const findings = knownHoles({ kernel: '6.18.44', containerKernel: '6.6.15' });
    expect(holesUnderIsolates(findings)).toEqual([]);
    expect(holdIds(holesByRuntime(findings, ['runc']), 'runc')).toEqual(['CVE-2026-31431', 'CVE-2026-43284']);
  });
});

test('every entry has a fix, words, an advisory and a source', () => {
  for (const { id, what, fixed, advisory, sourced } of KNOWN_HOLES) {
    expect(id).toMatch(/^CVE-\d{4}-\d+$/);
    expect(what.length).toBeGreaterThan(10);
    expect(fixed.length).toBeGreaterThan(0);
    expect(advisory).toMatch(/^https:\/\//);
    expect(sourced).not.toBe('');
  }
  expect(new Set(KNOWN_HOLES.map(({ id }) => id)).size).toBe(KNOWN_HOLES.length);
});
