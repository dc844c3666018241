/** A worker's container over a hand-written Docker: what its worker is told of it, and what is left of it. */

import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DockerDaemon } from '../../../../sandbox/container/daemon.ts';
import { openHoldings } from '../../../../sandbox/container/holdings.ts';
import type { KernelView } from '../../../../sandbox/container/kernel-view.ts';
import { ContainerBody } from '../../../../sandbox/isolate/container-body.ts';
import { FakeDocker, IMAGE } from '../container/fake-docker.ts';

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const log = pino({ level: 'silent' });

function makeView(changes: Partial<KernelView> = {}): KernelView {
  return {
    cpuMs: () => 10,
    delayMs: () => 0,
    peakMemoryBytes: () => 30 * MIB,
    resetPeak: () => true,
    memoryBytes: () => 20 * MIB,
    processes: () => 2,
    oomKills: () => 0,
    isEmpty: () => true,
    kill: () => true,
    ...changes,
  };
}

function makeBody(options: { view?: KernelView; runtime?: 'runc' | 'runsc'; isGone?: true } = {}) {
  const docker = new FakeDocker();
  docker.isGone = options.isGone ?? false;
  const viewOf = () => options.view;
  const holdings = openHoldings({ dockerHost: undefined, instance: 'host-1', log, engine: docker, viewOf });
  const daemon = new DockerDaemon({
    engine: docker,
    image: 'flowops/isolate-worker:latest',
    imageAdvice: { build: 'npm run image -- worker', setting: 'SANDBOX_WORKER_IMAGE' },
    log,
  });
  const runtime = options.runtime ?? 'runc';
  const warn = vi.fn();
  const body = new ContainerBody({ name: 'w', runtime, world: holdings.world(daemon), daemon, log: { warn } });
  body.stream.on('error', () => {}).resume();
  return { docker, daemon, holdings, body, warn };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the container of a worker', () => {
  it('is made with the hardening of a step, no place to write to and the program of a worker', async () => {
    const { docker, body } = makeBody();
    const container = await docker.nth(0);
    expect(container.spec.body).toMatchObject({
      User: '65532:65532',
      Cmd: expect.arrayContaining(['--no-node-snapshot', '/worker/worker.mjs', '3', '4']),
      HostConfig: {
        NetworkMode: 'none',
        ReadonlyRootfs: true,
        Tmpfs: {},
        CapDrop: ['ALL'],
        Memory: 1_024 * MIB,
        MemorySwap: 1_024 * MIB,
        PidsLimit: 256,
        Ulimits: expect.arrayContaining([{ Name: 'fsize', Soft: 0, Hard: 0 }]),
      },
    });
    expect(await body.confirm()).toBeUndefined();
    expect(body.confinement).toEqual({ kind: 'container', runtime: 'runc', imageId: IMAGE.id });
    body.kill();
    await body.gone;
  });

  it('that is weaker than asked for gets no step, and is removed', async () => {
    const { docker, body } = makeBody();
    docker.weaken = (hostConfig) => {
      hostConfig.CapDrop = [];
    };
    expect(await body.confirm()).toBe('Docker did not apply HostConfig.CapDrop');
    expect(body.lastWords).toContain('CapDrop');
    body.kill();
    await body.gone;
    await body.remove();
    expect((await docker.nth(0)).isRemoved).toBe(true);
  });

  it('is proven to have ended, and then removed, when it is killed', async () => {
    const { docker, body } = makeBody();
    await body.confirm();
    const container = await docker.nth(0);
    body.kill();
    await body.gone;
    expect([container.isRunning, container.kills, container.isRemoved]).toEqual([false, 1, false]);
    await body.remove();
    expect(container.isRemoved).toBe(true);
  });

  it('asks to be replaced after an hour, and lives a day at most', async () => {
    const { docker, body } = makeBody();
    const aged = vi.fn();
    void body.aged.then(aged);
    await body.confirm();
    await vi.advanceTimersByTimeAsync(HOUR_MS - 1);
    expect(aged).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(aged).toHaveBeenCalledOnce();
    expect((await docker.nth(0)).spec.body.Cmd).toEqual(expect.arrayContaining(['86400']));
    body.kill();
    await body.gone;
  });

  it('ends its worker when there is no Docker, with what Docker said', async () => {
    const { docker, body } = makeBody({ isGone: true });
    const ended = new Promise((resolve) => body.stream.once('end', resolve));
    expect(await body.confirm()).toMatch(/Docker does not answer/);
    await ended;
    await body.gone;
    expect(docker.containers).toEqual([]);
  });

  it('tells the CPU and the peak of one step by the kernel, and none where only Docker can be asked', async () => {
    let cpuMs = 100;
    const seen = makeBody({ view: makeView({ cpuMs: () => cpuMs }) });
    await seen.body.confirm();
    const measure = seen.body.measure();
    cpuMs = 160;
    expect(measure()).toEqual({ cpuMs: 60, peakMemoryBytes: 30 * MIB });
    seen.body.kill();
    const blind = makeBody();
    await blind.body.confirm();
    expect(blind.body.measure()()).toEqual({ cpuMs: undefined, peakMemoryBytes: undefined });
    expect(blind.body.cpuMs()).toBeUndefined();
    await vi.waitFor(() => expect(blind.body.cpuMs()).toBe(12));
    expect(blind.body.memoryBytes()).toBe(30);
    blind.body.kill();
    await Promise.all([seen.body.gone, blind.body.gone]);
  });

  it('has made a process when the kernel shows more than PID 1 and the worker; on gVisor nobody can tell', async () => {
    for (const [runtime, processes, expected] of [
      ['runc', 2, false],
      ['runc', 3, true],
      ['runsc', 6, false],
    ] as const) {
      const { body } = makeBody({ runtime, view: makeView({ processes: () => processes }) });
      await body.confirm();
      expect(body.hasChildren()).toBe(expected);
      body.kill();
      await body.gone;
    }
  });

  it('is given more memory only beyond what it has, and keeps it where the runtime cannot', async () => {
    const { docker, body, warn } = makeBody();
    await body.confirm();
    const container = await docker.nth(0);
    body.makeRoom(512 * MIB);
    expect(docker.calls).not.toContain('resize');
    body.makeRoom(2_048 * MIB);
    await vi.waitFor(() => expect(container.memoryBytes).toBe(2_048 * MIB));
    docker.failures.set('resize', { kind: 'refused', problem: 'runsc has no update' });
    body.makeRoom(4_096 * MIB);
    await vi.waitFor(() => expect(warn).toHaveBeenCalledOnce());
    body.kill();
    await body.gone;
  });

  it('is examined: out of memory by the kernel or by Docker, else a Docker that was lost, else nothing known', async () => {
    const byKernel = makeBody({ view: makeView({ oomKills: () => 1 }) });
    await byKernel.body.confirm();
    byKernel.body.cpuMs();
    expect(await byKernel.body.examine()).toEqual({ isOom: true, fault: undefined });
    const byDocker = makeBody();
    await byDocker.body.confirm();
    (await byDocker.docker.nth(0)).exit({ exitCode: 137, isOomKilled: true });
    expect(await byDocker.body.examine()).toEqual({ isOom: true, fault: undefined });
    const lost = makeBody();
    await lost.body.confirm();
    lost.docker.lose();
    expect(await lost.body.examine()).toEqual({ isOom: false, fault: 'Docker was lost in the middle' });
    const unknown = makeBody();
    await unknown.body.confirm();
    (await unknown.docker.nth(0)).exit({ exitCode: 1 });
    expect(await unknown.body.examine()).toEqual({ isOom: false, fault: undefined });
    for (const { body, daemon } of [byKernel, byDocker, unknown, lost]) {
      body.kill();
      daemon.close();
    }
  });
});
