/**
 * The plugin has escaped V8 in a worker that is a container (hostile cases 25, 48, 56, 57, 67): in place of the worker
 * runs a program of the attacker with all of Node and any system call that the container allows. What it reaches is
 * nothing of the host; what it costs is its own step; and when it is told to be gone, no container is left.
 */

import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { docker as runDocker } from '../../bin/image/docker-cli.ts';
import { cpuMsOf } from '../../sandbox/doctor/process-tree.ts';
import { isRunning, startTicks } from '../../sandbox/kernel/process-figures.ts';
import type { Look } from '../fixtures/sandbox/ways-out.ts';
import { type DockerService, startDocker } from '../services/docker.ts';
import { containersOf, untilNone } from '../support/container-tier.ts';
import { CANARY, type HostileHost, nativeAddon, startHostileHost } from '../support/hostile-host-process.ts';
import { hostileWorkerImage } from '../support/hostile-worker-image.ts';
import { skipBecause } from '../support/skip.ts';

const SLOW_MS = 120_000;
const hasNative = nativeAddon() !== undefined;
/**
 * What a container has, and a jail has not: its own /proc, /sys and /dev and the files that Docker makes, all of them its
 * own or read-only; a first process that it may see and not touch; more than one process.
 */
const OF_A_CONTAINER = [
  /^(read|climb to) (\/etc\/hostname|\/proc\/self\/environ|\/sys\/fs\/cgroup|\/dev\/null|\/tmp)/,
  /^see its parent: 1$/,
];
/** Made by the test itself, or not asked of gVisor, whose kernel it is that would answer. */
const SKIP = ['a child process', 'clone newuser'];

/** Answered by the kernel that gVisor is, for this container alone: none of them asks anything of the machine's. */
const OF_GVISORS_KERNEL = [
  /^be quicker: done$/,
  /^unshare new(ns|cgroup|time): 0$/,
  /^(io_uring_setup|memfd_create|shmget|msgget|semget|syslog|netlink|a socket of the internet): \d+$/,
  /^(more processes|quicker group): 0$/,
  /^a system call filter that is missing: none$/,
];
/** Its own thread, which a signal reaches there. */
const OWN_THREAD = ['signal 0 to 3', 'signal SIGUSR1 to 3', 'signal SIGSTOP to 3'];

let service: DockerService;
let image: string;
beforeAll(async () => {
  service = await startDocker();
  image = await hostileWorkerImage(service);
}, 300_000);
afterAll(async () => {
  if (image !== undefined) await runDocker({ host: service.host, say: () => {} }, ['rmi', '-f', image]);
  await service?.stop();
});

type Runtime = 'runc' | 'runsc';

function needs(runtime: Runtime, context: TestContext): void {
  if (!service.runtimes.includes(runtime)) skipBecause(context, `Docker has no ${runtime} here`);
}

function startHost(runtime: Runtime): Promise<HostileHost> {
  return startHostileHost({ containers: { dockerHost: service.host, image, runtime } });
}

/** PID 1 of each of its containers that runs, as this machine counts. */
async function firstProcesses(
  instance: string,
): Promise<{ readonly pid: number; readonly ticks: string | undefined }[]> {
  const running = (await containersOf(service, instance)).filter(({ state }) => state === 'running');
  const told = await runDocker({ host: service.host, say: () => {} }, [
    ...['inspect', '--format', '{{.State.Pid}}', ...running.map(({ id }) => id)],
  ]);
  if (!told.ok) throw new Error(told.problem);
  return told.stdout
    .trim()
    .split('\n')
    .map(Number)
    .map((pid) => ({ pid, ticks: startTicks(pid) }));
}

describe.each<Runtime>(['runc', 'runsc'])('native code in a worker container on %s', (runtime) => {
  let host: HostileHost;
  beforeAll(async () => {
    if (service.runtimes.includes(runtime)) host = await startHost(runtime);
  }, SLOW_MS);
  afterAll(async () => {
    await host?.close();
    if (host !== undefined) await untilNone(service, host.instance);
  });

  it('57: finds no way out of it, and nothing worth having in it', async (context) => {
    needs(runtime, context);
    const looks = { do: 'look', canary: CANARY, files: [process.cwd(), process.execPath, '/var/run/docker.sock'] };
    const outcome = await host.run({ ...looks, skip: runtime === 'runc' ? SKIP : [...SKIP, ...OWN_THREAD] });
    if (outcome.outputsJson === undefined) throw new Error(JSON.stringify(outcome));
    const look = JSON.parse(outcome.outputsJson) as Look;
    const known = runtime === 'runc' ? OF_A_CONTAINER : [...OF_A_CONTAINER, ...OF_GVISORS_KERNEL];
    expect(look.open.filter((way) => !known.some((one) => one.test(way)))).toEqual([]);
    expect(look.tried).toBeGreaterThan(100);
    expect(look.seen.env.filter((entry) => !/^(HOSTNAME|PATH|HOME)=/.test(entry))).toEqual([]);
    expect(look.seen.descriptors.filter((line) => /file$|folder$/.test(line))).toEqual([]);
    expect(look.hasNative).toBe(hasNative);
    expect(outcome.receipt).toMatchObject({ jail: 'container', runtime: expect.stringContaining(` in ${runtime}`) });
  });

  it(
    '25: does not take the machine with a fork bomb, and is ended',
    async (context) => {
      needs(runtime, context);
      if (!hasNative) return skipBecause(context, 'no C compiler is installed');
      const outcome = await host.run({ do: 'fork-bomb', plugin: 'bomb' });
      // On gVisor its processes are not ours to see: the limit of pids counts, and its CPU.
      if (outcome.outputsJson !== undefined) {
        expect((JSON.parse(outcome.outputsJson) as { made: number }).made).toBeLessThan(512);
      } else {
        expect(['SANDBOX_CRASHED', 'LIMIT_CPU', 'LIMIT_MEMORY', 'LIMIT_WALL']).toContain(outcome.code);
      }
      expect(await host.run({ do: 'complete', plugin: 'neighbour' })).toMatchObject({ status: 'COMPLETED' });
    },
    SLOW_MS,
  );

  it(
    '56: that hides as a zombie is killed on a cancel, and nothing of it runs on',
    async (context) => {
      needs(runtime, context);
      if (!hasNative) return skipBecause(context, 'no C compiler is installed');
      const outcome = await host.run({ do: 'hide-as-zombie', plugin: 'zombie', wallMs: 1_000, cancelAfterMs: 300 });
      expect(['CANCELLED', 'FAILED']).toContain(outcome.status);
      expect(await host.run({ do: 'complete', plugin: 'zombie' })).toMatchObject({ status: 'COMPLETED' });
    },
    SLOW_MS,
  );

  it(
    '56: a step that does not stop is STOPPED only when its container does not run any more',
    async (context) => {
      needs(runtime, context);
      host.order({ do: 'wait', plugin: 'deaf', cancelAfterMs: 1_500 });
      await host.told(({ started }) => started === 'wait');
      // By the kernel: Docker learns of an end some time later.
      const during = await firstProcesses(host.instance);
      const { outcome } = await host.told(({ order }) => order === 'wait');
      expect(outcome).toMatchObject({ status: 'CANCELLED' });
      expect(during.filter(({ pid, ticks }) => !isRunning(pid, ticks))).toHaveLength(1);
      expect(await host.run({ do: 'complete', plugin: 'deaf' })).toMatchObject({ status: 'COMPLETED' });
    },
    SLOW_MS,
  );

  it(
    '67: that claims to have used no CPU ends by its CPU limit all the same',
    async (context) => {
      needs(runtime, context);
      const outcome = await host.run({ do: 'burn-and-claim-no-cpu', plugin: 'burner' });
      expect(outcome).toMatchObject({ status: 'FAILED', code: 'LIMIT_CPU' });
      expect(outcome.receipt).toMatchObject({ sources: { cpuMs: 'host' } });
    },
    SLOW_MS,
  );

  it(
    '67: that claims to have used no CPU has what the kernel counted in its receipt',
    async (context) => {
      needs(runtime, context);
      const outcome = await host.run({ do: 'claim-no-cpu', plugin: 'liar', ms: 400 });
      expect(outcome).toMatchObject({ status: 'COMPLETED', receipt: { sources: { cpuMs: 'host' } } });
      expect(outcome.receipt?.cpuMs ?? 0).toBeGreaterThan(200);
    },
    SLOW_MS,
  );

  it(
    'that goes on computing after its result is ended, with its container',
    async (context) => {
      needs(runtime, context);
      const before = new Set((await containersOf(service, host.instance)).map(({ id }) => id));
      expect(await host.run({ do: 'burn-after-result', plugin: 'miner' })).toMatchObject({ status: 'COMPLETED' });
      const fresh = (await containersOf(service, host.instance)).filter(({ id }) => !before.has(id));
      const used = fresh.length > 0 ? fresh : await containersOf(service, host.instance);
      const end = performance.now() + 90_000;
      const left = async () =>
        (await containersOf(service, host.instance)).filter(({ id }) => used.some((u) => u.id === id));
      while ((await left()).length === used.length) {
        if (performance.now() > end) throw new Error('it goes on');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    SLOW_MS,
  );

  it(
    'that makes more host calls than a step may is ended by the host',
    async (context) => {
      needs(runtime, context);
      const outcome = await host.run({ do: 'flood-host-calls', plugin: 'caller', wallMs: 20_000 });
      expect(outcome).toMatchObject({ status: 'FAILED', code: 'LIMIT_HOST_CALLS' });
    },
    SLOW_MS,
  );

  it(
    'that floods its standard error costs the host little',
    async (context) => {
      needs(runtime, context);
      const beforeMs = cpuMsOf([host.pid]);
      await host.run({ do: 'flood-stderr', plugin: 'flood', wallMs: 5_000 });
      expect(cpuMsOf([host.pid]) - beforeMs).toBeLessThan(10_000);
    },
    SLOW_MS,
  );

  it(
    'that hoards memory is LIMIT_MEMORY',
    async (context) => {
      needs(runtime, context);
      expect(await host.run({ do: 'hoard', plugin: 'hoard' })).toMatchObject({
        status: 'FAILED',
        code: 'LIMIT_MEMORY',
      });
    },
    SLOW_MS,
  );

  it(
    '48: of a host that was killed is gone with the next start of one',
    async (context) => {
      needs(runtime, context);
      const first = await startHost(runtime);
      first.order({ do: 'outlive' });
      await first.told(({ started }) => started === 'outlive');
      expect((await containersOf(service, first.instance)).length).toBeGreaterThan(0);
      first.kill();
      const next = await startHost(runtime);
      await untilNone(service, first.instance);
      await next.close();
      await untilNone(service, next.instance);
    },
    SLOW_MS,
  );
});
