/**
 * What a step in a container takes of the machine, as the host sees it from outside: by the kernel where it can look, by
 * `docker stats` alone where it cannot (a host in a container of its own). Burners that only their CPU time gives away.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import {
  codeOf,
  openTierOn,
  RUNTIMES,
  type TierOptions,
  type TierUnderTest,
  untilNone,
} from '../support/container-tier.ts';
import { skipBecause } from '../support/skip.ts';

const MIB = 1024 * 1024;
/** What the host waits for beyond a CPU limit, and as much again until it looked and killed. */
const CPU_SLACK_MS = 4_000;
/** The runner may end a step first, by its own clock, but not before its limit. */
const LEAST_SHARE = 0.9;
/** To make a container, and Docker's next second. */
const TOLD_BY_DOCKER_MS = 3_000;
const MINUTE = { wallMs: 60_000 };

let docker: DockerService;
beforeAll(async () => {
  docker = await startDocker();
}, 300_000);
afterAll(() => docker.stop());

const open: TierUnderTest[] = [];
afterEach(async () => {
  for (const { tier, instance } of open.splice(0)) {
    await tier.close();
    await untilNone(docker, instance);
  }
});

/** Case 23: never longer than some milliseconds at a time, so that no look at it finds it hanging. */
const YIELDS = `for (;;) { const until = performance.now() + 8; while (performance.now() < until); await new Promise((go) => setTimeout(go, 2)); }`;
const IN_THREADS = `const { Worker } = await import('node:worker_threads');
  for (let i = 0; i < 2; i++) new Worker('for (;;);', { eval: true }).unref();
  await new Promise((go) => setTimeout(go, 60_000));`;
const IN_CHILDREN = `const { spawn } = await import('node:child_process');
  for (let i = 0; i < 2; i++) spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore', detached: true }).unref();
  await new Promise((go) => setTimeout(go, 60_000));`;

describe.each([
  ['the kernel', {}],
  ['Docker alone', { viewOf: () => undefined, ahead: 1 }],
] as const)('as %s tells it', (who, sight: TierOptions) => {
  /** Docker 20.10 tells what a container takes once a second: too late for a step that told its own end. */
  const isKnown = (told: number | null): told is number => told !== null || who === 'the kernel';

  describe.each(RUNTIMES)('in a container of %s', (runtime) => {
    let world: TierUnderTest;
    beforeEach((context) => {
      if (!docker.runtimes.includes(runtime)) skipBecause(context, `this Docker has no ${runtime}`);
      world = openTierOn(docker, runtime, sight);
      open.push(world);
    });

    it.each([
      ['a burner that yields often', YIELDS, false],
      ['one whose threads burn', IN_THREADS, true],
      ['one whose children burn, out of sight of its runner', IN_CHILDREN, true],
    ] as const)('%s ends with LIMIT_CPU, and its receipt has the CPU that it took', async (_what, body, isNode) => {
      const cpuMs = 700;
      const limits = { ...MINUTE, cpuMs };
      if (who === 'Docker alone') {
        // Leaves a container made ahead, of which Docker has told by then what it took before it had a step.
        await world.start('return {}', { isNode, limits }).run.ended;
        await sleep(TOLD_BY_DOCKER_MS);
      }
      const end = await world.start(body, { isNode, limits }).run.ended;
      expect(codeOf(end)).toBe('LIMIT_CPU');
      // Its runner does not see its children: the host ends it by the figure that it saw.
      if (body !== IN_CHILDREN && !isKnown(end.figures.cpuMs)) return;
      expect(end.figures.cpuMs).toBeGreaterThan(cpuMs * LEAST_SHARE);
      expect(end.figures.cpuMs).toBeLessThan(cpuMs + CPU_SLACK_MS);
      expect(end.figures.sources.cpuMs).toBe('host');
    });

    it('a step as short as any has its CPU and its memory, or nothing, but no part of it', async () => {
      const body = 'const until = performance.now() + 300; while (performance.now() < until); return { o: 1 };';
      const { figures, outcome } = await world.start(body).run.ended;
      expect(outcome).toMatchObject({ status: 'COMPLETED' });
      if (!isKnown(figures.cpuMs)) return;
      expect(figures.cpuMs).toBeGreaterThan(30);
      expect(figures.peakMemoryBytes).toBeGreaterThan(10 * MIB);
    });

    it('one that dies has what was seen of it, or nothing, but no made-up zero', async () => {
      const burn = 'const until = performance.now() + 1_500; while (performance.now() < until) await 1;';
      const end = await world.start(`${burn} process.kill(process.pid, 'SIGKILL');`, { isNode: true }).run.ended;
      expect(codeOf(end)).toBe('SANDBOX_CRASHED');
      expect(end.figures.cpuMs ?? Number.POSITIVE_INFINITY).toBeGreaterThan(100);
      expect(end.figures.peakMemoryBytes ?? Number.POSITIVE_INFINITY).toBeGreaterThan(10 * MIB);
    });
  });
});
