/**
 * A Docker daemon that is killed with SIGKILL and started again, as crashes and upgrades do it: what becomes of steps that
 * run, of containers that are being made and of STOPs that wait, and what is left. A daemon of this file's own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import { OwnDocker } from '../services/own-docker.ts';
import {
  codeOf,
  openTierOn,
  type Runtime,
  type TierOptions,
  type TierUnderTest,
  untilNone,
} from '../support/container-tier.ts';
import { skipBecause } from '../support/skip.ts';

const SLEEPS = 'await new Promise((go) => setTimeout(go, 60_000)); return { o: 1 };';
/** Deaf to a stop, and never at rest. */
const BURNS = 'for (;;) await new Promise((go) => setTimeout(go, 1));';
const blind: TierOptions = { viewOf: () => undefined };
const needed = process.platform === 'linux' && process.getuid?.() === 0;

let docker: OwnDocker | undefined;
let shared: DockerService | undefined;
beforeAll(async () => {
  if (!needed) return;
  shared = await startDocker();
  docker = await OwnDocker.start(shared);
}, 300_000);
afterAll(async () => {
  await docker?.stop();
  await shared?.stop();
}, 120_000);

const open: TierUnderTest[] = [];
beforeEach((context) => {
  if (!needed) skipBecause(context, 'starts a Docker daemon of its own, which needs root on Linux');
});
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ tier }) => tier.close()));
});

function own(): OwnDocker {
  if (docker === undefined) throw new Error('it was not started');
  return docker;
}

function openTier(runtime: Runtime, options: TierOptions = {}): TierUnderTest {
  const world = openTierOn(own(), runtime, options);
  open.push(world);
  return world;
}

/** Running or not: containers that its host could not remove yet count. */
async function nothingIsLeft({ tier, instance }: TierUnderTest): Promise<void> {
  await tier.close();
  await untilNone(own(), instance);
}

describe.each([
  ['without live-restore', 'runc', {}],
  ['with live-restore', 'runc', { 'live-restore': true }],
  ['without live-restore', 'runsc', {}],
] as const)('a daemon %s, killed while a step runs in %s', (_, runtime, options) => {
  it('is no fault of the step, is waited for by the next one, and has a full pool again', async (context) => {
    if (shared?.runtimes.includes(runtime) !== true) skipBecause(context, `this Docker has no ${runtime}`);
    await own().kill();
    await own().startAgain(options);
    const world = openTier(runtime, { ahead: 1 });
    const { run, started } = world.start(SLEEPS);
    await started;
    await own().kill();
    const { outcome } = await run.ended;
    expect(outcome).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      isRetryable: true,
      message: expect.stringContaining('Docker was lost'),
    });
    const next = world.start('return { o: 2 };').run;
    await own().startAgain(options);
    expect(codeOf(await next.ended)).toBe('COMPLETED');
    await expect
      .poll(async () => (await world.containers()).filter(({ state }) => state === 'running').length, {
        timeout: 20_000,
      })
      .toBe(1);
    await nothingIsLeft(world);
  });
});

describe('a daemon that is killed', () => {
  it('while a STOP waits for a step leaves the STOP its proof: the kernel shows that nothing runs', async () => {
    const world = openTier('runc');
    const { run, started } = world.start(BURNS);
    await started;
    run.cancel({ graceMs: 60_000, reason: 'enough' });
    await own().kill();
    expect(codeOf(await run.ended)).toBe('CANCELLED');
    await own().startAgain();
    expect(codeOf(await world.start('return { o: 2 };').run.ended)).toBe('COMPLETED');
    await nothingIsLeft(world);
  });

  it('while a STOP waits keeps it waiting where the kernel is out of sight, until the daemon is back to tell', async () => {
    const world = openTier('runc', blind);
    const { run, started } = world.start(BURNS);
    await started;
    run.cancel({ graceMs: 100, reason: 'enough' });
    await own().kill();
    const ended = run.ended.then(codeOf);
    expect(await Promise.race([ended, sleep(2_000, 'still waits')])).toBe('still waits');
    await own().startAgain();
    expect(await ended).toBe('CANCELLED');
    await nothingIsLeft(world);
  });

  it('while containers are being made blames nobody, and leaves none of them', async () => {
    const world = openTier('runc', { max: 8 });
    await world.start('return { o: 0 };').run.ended;
    const runs = Array.from({ length: 6 }, () => world.start('return { o: 1 };').run.ended);
    await expect.poll(async () => (await world.containers()).length).toBeGreaterThan(0);
    await own().kill();
    await own().startAgain();
    for (const end of await Promise.all(runs)) expect(['COMPLETED', 'SANDBOX_UNAVAILABLE']).toContain(codeOf(end));
    expect(codeOf(await world.start('return { o: 2 };').run.ended)).toBe('COMPLETED');
    await nothingIsLeft(world);
  });

  it('and stays away is told to whoever waits, as a fault of the machine', async () => {
    const world = openTier('runc');
    await world.start('return { o: 0 };').run.ended;
    await own().kill();
    const { outcome } = await world.start('return { o: 1 };').run.ended;
    expect(outcome).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      isRetryable: true,
      message: expect.stringContaining('Docker does not answer'),
    });
    await own().startAgain();
    expect(codeOf(await world.start('return { o: 2 };').run.ended)).toBe('COMPLETED');
    await nothingIsLeft(world);
  });
});
