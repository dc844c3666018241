/** From what Docker and the system tell to what a policy is held against. */
import { release } from 'node:os';
import { findingsOf } from '@flowops/sandbox/doctor/container-facts.ts';
import type { DockerFacts } from '@flowops/sandbox/doctor/docker-view.ts';
import { partVersions } from '@flowops/sandbox/doctor/part-versions.ts';
import { expect, test } from 'vitest';

const DOCKER: DockerFacts = {
  version: '29.6.0',
  components: { runc: '1.1.11', containerd: '2.2.5' },
  runtimes: ['runc'],
  securityOptions: [],
  cgroupVersion: '2',
  kernel: release(),
  system: 'Debian GNU/Linux 13',
  lacks: ['pids'],
};

test.runIf(process.platform === 'linux')('without Docker the kernel and node are known, and nothing else', async () => {
  const versions = await partVersions(undefined);
  expect(Object.keys(versions).sort()).toEqual(['kernel', 'node']);
  expect(versions.kernel?.startsWith(release())).toBe(true);
});

test.runIf(process.platform === 'linux')(
  'a Docker on the kernel of this machine has no other kernel to tell of',
  async () => {
    expect(await partVersions(DOCKER)).toMatchObject({ docker: '29.6.0', runc: '1.1.11', containerd: '2.2.5' });
    expect(await partVersions(DOCKER)).not.toHaveProperty('containerKernel');
  },
);

test('a Docker elsewhere brings its own kernel, which is held against containers and not against isolates', async () => {
  const { containers, holes } = await findingsOf({ ...DOCKER, kernel: '6.6.15' });
  expect(containers).toMatchObject({ kind: 'available', runtimes: ['runc'], lacks: ['pids'] });
  const held = containers.kind === 'available' ? containers.knownHoles.map(({ hole }) => hole.split(' ')[0]) : [];
  expect(held).toEqual(expect.arrayContaining(['CVE-2024-21626', 'CVE-2026-31431', 'CVE-2026-43284']));
  expect(containers.isolateHoles.join()).not.toContain('6.6.15');
  expect(containers.exceptedHoles).toContain('CVE-2025-52565 (runc 1.1.11)');
  expect(holes.find(({ id }) => id === 'CVE-2026-31431')).toMatchObject({ version: '6.6.15', under: ['container'] });
});
