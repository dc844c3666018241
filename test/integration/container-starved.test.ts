/**
 * A step that misses its wall limit because others had the cores (design 5.2, Fairness), in containers: it is put on one
 * core with a burner that has nearly all the weight there. It is run once more, and only then charged. A step that is
 * slow by its own rule is charged at once.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import type { HostCallAnswer } from '@flowops/sandbox/tier.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import { codeOf, openTierOn, type TierUnderTest, untilNone } from '../support/container-tier.ts';

const run = promisify(execFile);
const BURNER = `flowops-test-burner-${randomUUID()}`;
/** Beside the 256 of a step: a thirtieth is left to it, in which it can still be killed soon. */
const BURNER_SHARES = '8192';
const BURNER_LIFE_MS = 120_000;
const WALL_MS = 3_000;
/** As its first host call tells it: work without end, or none. */
const BODY = "if ((await context.secret('WORK')) === 'burn') for (;;); return { o: 1 };";

let docker: DockerService;
const open: TierUnderTest[] = [];
beforeAll(async () => {
  docker = await startDocker();
  const burner = [
    '--entrypoint',
    '/usr/local/bin/node',
    docker.image,
    '-e',
    `const end = Date.now() + ${BURNER_LIFE_MS}; while (Date.now() < end);`,
  ];
  const limits = ['--network', 'none', '--cpuset-cpus', '0', '--cpu-shares', BURNER_SHARES, '--label', 'flowops.test'];
  await inDocker('run', '-d', '--rm', '--name', BURNER, ...limits, ...burner);
}, 300_000);
afterAll(async () => {
  await inDocker('rm', '-f', BURNER);
  await docker.stop();
});
afterEach(async () => {
  for (const { tier, instance } of open.splice(0)) {
    await tier.close();
    await untilNone(docker, instance);
  }
});

function inDocker(...args: readonly string[]) {
  return run('docker', args, { env: { ...process.env, DOCKER_HOST: docker.host } });
}

/** Of runc: the cores of one of gVisor cannot be changed while it runs. */
function openTier(): TierUnderTest {
  const world = openTierOn(docker, 'runc');
  open.push(world);
  return world;
}

/** From now on the burner leaves its container next to nothing. */
async function starve(world: TierUnderTest): Promise<void> {
  const running = (await world.containers()).filter(({ state }) => state === 'running');
  await inDocker('update', '--cpuset-cpus', '0', ...running.map(({ id }) => id));
}

const answer = (value: string): HostCallAnswer => ({ ok: true, payloadJson: Buffer.from(JSON.stringify({ value })) });

describe('in a container', () => {
  it('a step whose cores others had is run again, and the second run counts', async () => {
    const world = openTier();
    let calls = 0;
    const onHostCall = async () => {
      if (++calls > 1) return answer('rest');
      await starve(world);
      return answer('burn');
    };
    const step = world.start(BODY, { limits: { wallMs: WALL_MS }, onHostCall });
    const end = await step.run.ended;
    expect([codeOf(end), step.restarts(), calls]).toEqual(['COMPLETED', 1, 2]);
  });

  it('one that is starved twice is charged with LIMIT_WALL', async () => {
    const world = openTier();
    const onHostCall = async () => {
      await starve(world);
      return answer('burn');
    };
    const step = world.start(BODY, { limits: { wallMs: WALL_MS }, onHostCall });
    expect([codeOf(await step.run.ended), step.restarts()]).toEqual(['LIMIT_WALL', 1]);
  });

  it('one that has little of a core by its own rule is charged at once', async () => {
    const step = openTier().start('for (;;);', {
      limits: { wallMs: WALL_MS, cpuMs: 60_000 },
      terms: { cpus: 0.15 },
    });
    expect([codeOf(await step.run.ended), step.restarts()]).toEqual(['LIMIT_WALL', 0]);
  });
});
