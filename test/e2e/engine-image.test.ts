/** The image of the engine's service as compose starts it: an ordinary user, healthy, its isolates jailed, gone in order. */
import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { runCommand } from '../services/child.ts';
import { type DockerService, engineImage, startDocker, workerImage } from '../services/docker.ts';
import { freePort } from '../services/ports.ts';
import { freshRedis } from '../services/redis.ts';

const BUILD_TIMEOUT_MS = 300_000;
const ROOT = join(import.meta.dirname, '..', '..');
/** As docker-compose.yml has it. */
const HARDENING = [
  '--cap-drop',
  'ALL',
  '--security-opt',
  'no-new-privileges:true',
  '--security-opt',
  'seccomp=unconfined',
];

const resultSchema = z.looseObject({
  status: z.string(),
  outputs: z.record(z.string(), z.unknown()),
  receipt: z.looseObject({ tier: z.string(), jail: z.string() }),
});

let service: DockerService;
const image = `flowops/engine:test-${randomUUID()}`;

beforeAll(async () => {
  service = await startDocker();
  await engineImage(service, image);
}, BUILD_TIMEOUT_MS);
afterAll(async () => {
  await docker('rmi', '-f', image).catch(() => {});
  await service?.stop();
});

function docker(...args: readonly string[]): Promise<string> {
  return runCommand(['docker', '--host', service.host, ...args], { timeoutMs: 120_000 });
}

describe('the image of the engine', () => {
  it('serves as an ordinary user, tells Docker that it is healthy, and ends in order', async () => {
    const redis = await freshRedis(inject('redisUrl'));
    const port = await freePort();
    const name = `flowops-test-${randomUUID()}`;
    const settings = {
      REDIS_URL: redis.url,
      KAFKA_BROKERS: inject('kafkaBrokers'),
      KAFKA_GROUP_ID: name,
      KAFKA_COMMANDS_TOPIC: `${name}.commands`,
      KAFKA_STATUS_TOPIC: `${name}.status`,
      KAFKA_OUTCOMES_TOPIC: `${name}.outcomes`,
      KAFKA_DLQ_TOPIC: `${name}.dlq`,
      PLUGIN_DIR: '/app/sdk/examples',
      HTTP_PORT: String(port),
      HTTP_HOST: '127.0.0.1',
    };
    const env = Object.entries(settings).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
    const health = ['--health-interval', '1s'];
    await docker('run', '-d', '--name', name, '--network', 'host', ...HARDENING, ...health, ...env, image);
    try {
      const told = async () => docker('inspect', '--format', '{{.State.Health.Status}}', name);
      await expect.poll(told, { timeout: 60_000, interval: 500 }).toBe('healthy\n');
      const ready = async () => (await fetch(`http://127.0.0.1:${port}/health/ready`)).status;
      await expect.poll(ready, { timeout: 60_000, interval: 500 }).toBe(200);
      expect((await docker('exec', name, 'id', '-u')).trim()).toBe('1000');
      await docker('stop', '--time', '40', name);
      expect((await docker('inspect', '--format', '{{.State.ExitCode}}', name)).trim()).toBe('0');
    } finally {
      await docker('rm', '-f', name);
      await redis.release();
    }
  });

  it('jails a worker in namespaces of its own, also without any capability', async () => {
    const run = ['sandbox', 'run', '/app/sdk/examples/01-hello', '--input', 'repeatCount=1'];
    const policy = join(ROOT, 'deploy', 'policy.yaml');
    const mount = ['--volume', `${policy}:/etc/flowops/policy.yaml:ro`];
    const args = ['run', '--rm', '--network', 'none', ...HARDENING, ...mount, image, ...run];
    const output = await docker(...args, '--policy', '/etc/flowops/policy.yaml', '--json');
    const result = resultSchema.parse(JSON.parse(output.trim().split('\n').at(-1) ?? ''));
    expect(result).toMatchObject({
      status: 'COMPLETED',
      outputs: { message: 'Hello World' },
      receipt: { tier: 'isolate', jail: 'namespaces' },
    });
  });

  it('runs a worker in a container where Docker refuses namespaces to it and it may speak to Docker', async () => {
    const run = ['sandbox', 'run', '/app/sdk/examples/01-hello', '--input', 'repeatCount=1'];
    const policy = join(ROOT, 'deploy', 'policy.yaml');
    const socket = service.host.replace('unix://', '');
    const { gid } = await stat(socket);
    const args = [
      ...['run', '--rm', '--network', 'none', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges:true'],
      ...['--volume', `${policy}:/etc/flowops/policy.yaml:ro`, '--volume', `${socket}:/var/run/docker.sock`],
      ...['--group-add', String(gid), '--env', `SANDBOX_WORKER_IMAGE=${await workerImage(service)}`, image, ...run],
    ];
    const output = await docker(...args, '--policy', '/etc/flowops/policy.yaml', '--json');
    const result = resultSchema.parse(JSON.parse(output.trim().split('\n').at(-1) ?? ''));
    expect(result).toMatchObject({
      status: 'COMPLETED',
      outputs: { message: 'Hello World' },
      // It does not see the cgroups of the daemon's machine.
      receipt: { tier: 'isolate', jail: 'container', runtime: expect.stringContaining('in runc') },
    });
  });
});
