/** The image of a sandbox host of its own as compose starts it: an ordinary user, healthy, its isolates jailed, gone in order. */
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RemoteSandboxes } from '../../engine/sandbox-client/remote-sandboxes.ts';
import { runCommand } from '../services/child.ts';
import { type DockerService, hostImage, startDocker } from '../services/docker.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { handMadeStep } from '../support/hand-made-step.ts';
import { picked, SERVED_POLICY, SILENT } from '../support/served-host.ts';
import { skipBecause } from '../support/skip.ts';

const BUILD_TIMEOUT_MS = 300_000;
/** `node` of the image. */
const UID = 1000;
/** As docker-compose.yml has it. */
const HARDENING = [
  ...['--cap-drop', 'ALL', '--init'],
  ...['--security-opt', 'no-new-privileges:true', '--security-opt', 'seccomp=unconfined'],
];

let service: DockerService;
const image = `flowops/sandbox-host:test-${randomUUID()}`;
const folder = scratchFolder();

beforeAll(async () => {
  service = await startDocker();
  await hostImage(service, image);
}, BUILD_TIMEOUT_MS);
afterAll(async () => {
  await docker('rmi', '-f', image).catch(() => {});
  await service?.stop();
  removeFolder(folder);
});

function docker(...args: readonly string[]): Promise<string> {
  return runCommand(['docker', '--host', service.host, ...args], { timeoutMs: 120_000 });
}

describe('the image of a sandbox host', () => {
  it('serves engines by a socket in a volume, without a network, and ends in order', async (context) => {
    if (process.getuid?.() !== 0) return skipBecause(context, 'only root gives a folder to the user of the image');
    const run = join(folder, 'run');
    mkdirSync(run, { mode: 0o700 });
    chownSync(run, UID, UID);
    const policy = join(folder, 'policy.yaml');
    writeFileSync(policy, SERVED_POLICY);
    // The folder of a test is its user's alone.
    for (const path of [folder, policy]) chmodSync(path, 0o755);
    const name = `flowops-test-${randomUUID()}`;
    const mounts = ['--volume', `${run}:/run/flowops`, '--volume', `${policy}:/etc/flowops/policy.yaml:ro`];
    const env = ['--env', 'SANDBOX_POLICY=/etc/flowops/policy.yaml'];
    const health = ['--health-interval', '1s'];
    await docker('run', '-d', '--name', name, '--network', 'none', ...HARDENING, ...mounts, ...env, ...health, image);
    try {
      const told = async () => docker('inspect', '--format', '{{.State.Health.Status}}', name);
      await expect.poll(told, { timeout: 60_000, interval: 500 }).toBe('healthy\n');
      const sandboxes = new RemoteSandboxes({
        ...{ addresses: [`unix:${join(run, 'sandbox.sock')}`], identity: undefined, instance: 'test' },
        ...{ home: folder, leaseMs: 15_000, vouches: () => true, log: SILENT },
      });
      await sandboxes.firstHost(20_000);
      const attempt = picked(sandboxes).run(handMadeStep('async () => ({ a: 5 })'), {});
      expect(await attempt.outcome).toMatchObject({
        status: 'COMPLETED',
        outputsJson: '{"a":5}',
        receipt: { tier: 'isolate', jail: 'namespaces' },
      });
      attempt.acknowledge();
      await docker('stop', '--time', '40', name);
      expect((await docker('inspect', '--format', '{{.State.ExitCode}}', name)).trim()).toBe('0');
      await sandboxes.close();
    } finally {
      await docker('rm', '-f', name);
    }
  });
});
