/** Sandbox hosts that run on their own, as real processes with real workers: cut off, killed, stopped and told to end. */
import { afterEach, describe, expect, it } from 'vitest';
import type { RemoteSandboxes } from '../../engine/sandbox-client/remote-sandboxes.ts';
import { ENDLESS, handMadeStep, started } from '../support/hand-made-step.ts';
import { CutWire, picked, ServedHost } from '../support/served-host.ts';

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(env: Record<string, string> = {}): Promise<{ host: ServedHost; instance: string }> {
  const host = new ServedHost(env);
  closers.push(() => host.close());
  return { host, instance: await host.start() };
}

async function engineOf(host: ServedHost, changes: Parameters<ServedHost['engine']>[0] = {}): Promise<RemoteSandboxes> {
  const sandboxes = await host.engine(changes);
  closers.push(() => sandboxes.close());
  return sandboxes;
}

const seen = (what: () => boolean) => expect.poll(what, { timeout: 30_000, interval: 20 }).toBe(true);

describe('a sandbox host of its own', () => {
  it('runs steps of two engines, and a step that one leaves goes on for the other', async () => {
    const { host, instance } = await serve();
    const [first, second] = [await engineOf(host), await engineOf(host)];
    expect(picked(first)).toMatchObject({ instance, isShared: true });
    const step = handMadeStep('async () => { await new Promise((r) => setTimeout(r, 1500)); return { a: 7 }; }');
    const attempt = await started(picked(first), step);
    expect(second.locate(instance)).toMatchObject({ state: 'connected' });
    attempt.leave();
    const attached = await picked(second).attach({ ...step, epoch: 2 }, {});
    if (attached.state !== 'running') throw new Error(attached.state);
    expect(await attached.attempt.outcome).toMatchObject({ status: 'COMPLETED', outputsJson: '{"a":7}' });
    attached.attempt.acknowledge();
    // The former owner is too late, whatever it asks for.
    expect(await picked(first).attach(step, {})).toEqual({ state: 'refused' });
  });

  it('keeps what runs through a cut that is mended within the lease', async () => {
    const { host, instance } = await serve();
    const wire = await CutWire.to(host.address);
    closers.push(() => wire.close());
    const sandboxes = await engineOf(host, { addresses: [wire.address] });
    const step = handMadeStep('async () => { await new Promise((r) => setTimeout(r, 2500)); return { a: 1 }; }');
    const attempt = await started(picked(sandboxes), step);
    wire.cut();
    await seen(() => sandboxes.locate(instance).state === 'unreachable');
    expect([sandboxes.pick(), sandboxes.capacity()]).toEqual([undefined, 0]);
    expect(sandboxes.health()).toMatchObject([{ state: 'unreachable', problem: expect.any(String) }]);
    wire.mend();
    expect(await attempt.outcome).toMatchObject({ status: 'COMPLETED', outputsJson: '{"a":1}' });
    expect(sandboxes.locate(instance)).toMatchObject({ state: 'connected' });
  });

  it('ends what it runs for an engine that is cut off for its lease, which learns of that as lost and unproven', async () => {
    const { host, instance } = await serve({ SANDBOX_LEASE_MS: '2000' });
    const wire = await CutWire.to(host.address);
    closers.push(() => wire.close());
    const sandboxes = await engineOf(host, { addresses: [wire.address], home: `${host.home}-other` });
    const step = handMadeStep(ENDLESS);
    const attempt = await started(picked(sandboxes), step);
    wire.cut();
    const outcome = await attempt.outcome;
    expect(outcome).toMatchObject({ status: 'LOST', hostEnded: false });
    // A host that hangs could still have it until its wall limit.
    if (outcome.status === 'LOST') expect(outcome.aliveForMs).toBeGreaterThan(10_000);
    const other = await engineOf(host);
    const attached = await picked(other).attach({ ...step, epoch: 2 }, {});
    if (attached.state !== 'running' && attached.state !== 'ended') throw new Error(attached.state);
    expect(await attached.attempt.outcome).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('not heard of within the lease'),
      retryable: true,
    });
    expect(sandboxes.locate(instance)).toEqual({ state: 'unreachable' });
  });

  it('ends what it runs for an engine that is connected and does not stand by its steps any more', async () => {
    const { host } = await serve({ SANDBOX_LEASE_MS: '2000' });
    let isGood = true;
    const sandboxes = await engineOf(host, { vouches: () => isGood });
    const attempt = await started(picked(sandboxes), handMadeStep(ENDLESS));
    isGood = false;
    // Reached again at once: the host has the end of it.
    expect(await attempt.outcome).toMatchObject({ status: 'FAILED', code: 'SANDBOX_UNAVAILABLE' });
  });

  it('that hangs loses its steps when its lease is over, and ends them itself when it wakes', async () => {
    const { host, instance } = await serve({ SANDBOX_LEASE_MS: '2000' });
    const sandboxes = await engineOf(host);
    const step = handMadeStep(ENDLESS);
    const attempt = await started(picked(sandboxes), step);
    host.process.signal('SIGSTOP');
    await seen(() => sandboxes.locate(instance).state === 'unreachable');
    const outcome = await attempt.outcome;
    expect(outcome).toMatchObject({ status: 'LOST', hostEnded: false });
    if (outcome.status === 'LOST') expect(outcome.aliveForMs).toBeGreaterThan(10_000);
    host.process.signal('SIGCONT');
    await seen(() => sandboxes.locate(instance).state === 'connected');
    const attached = await picked(sandboxes).attach({ ...step, epoch: 2 }, {});
    if (attached.state !== 'running' && attached.state !== 'ended') throw new Error(attached.state);
    expect(await attached.attempt.outcome).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
  });

  it('that is killed and started again proves by its home that its steps run no more', async () => {
    const { host, instance } = await serve();
    const sandboxes = await engineOf(host, { home: `${host.home}-other` });
    const attempt = await started(picked(sandboxes), handMadeStep(ENDLESS));
    await host.process.kill9();
    const second = await host.start();
    expect(await attempt.outcome).toMatchObject({ status: 'LOST', aliveForMs: 0, hostEnded: true });
    expect(sandboxes.locate(instance)).toEqual({ state: 'ended' });
    expect(picked(sandboxes).instance).toBe(second);
  });

  it('told to end lets running steps finish, takes no more, and exits with 0', async () => {
    const { host } = await serve();
    const sandboxes = await engineOf(host);
    const step = handMadeStep('async () => { await new Promise((r) => setTimeout(r, 2000)); return { a: 2 }; }');
    const attempt = await started(picked(sandboxes), step);
    host.process.signal('SIGTERM');
    await seen(() => sandboxes.pick() === undefined);
    expect(sandboxes.health()).toMatchObject([{ state: 'draining', attempts: 1 }]);
    expect(await attempt.outcome).toMatchObject({ status: 'COMPLETED', outputsJson: '{"a":2}' });
    attempt.acknowledge();
    expect(await host.process.exited).toEqual({ code: 0, signal: null });
  });

  it('told to end ends what takes longer than DRAIN_MS, as no fault of the plugin', async () => {
    const { host } = await serve({ DRAIN_MS: '300' });
    const sandboxes = await engineOf(host);
    const attempt = await started(picked(sandboxes), handMadeStep(ENDLESS));
    host.process.signal('SIGTERM');
    expect(await attempt.outcome).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('told to end'),
      retryable: true,
    });
    attempt.acknowledge();
    expect(await host.process.exited).toEqual({ code: 0, signal: null });
  });
});

describe('two addresses of one sandbox host', () => {
  it('are one host to the engine, which takes the other address when the first is cut', async () => {
    const { host, instance } = await serve();
    const wire = await CutWire.to(host.address);
    closers.push(() => wire.close());
    const sandboxes = await engineOf(host, { addresses: [wire.address] });
    const both = await engineOf(host, { addresses: [wire.address, host.address] });
    await seen(() => both.health().filter(({ state }) => state === 'connected').length === 1);
    const problems = () => both.health().map((health) => ('problem' in health ? health.problem : ''));
    await seen(() => problems().some((problem) => problem.includes('another address leads to')));
    expect(both.capacity()).toBe(sandboxes.capacity());
    wire.cut();
    await seen(() => both.health()[1]?.state === 'connected');
    expect(picked(both).instance).toBe(instance);
  });
});

describe('two sandbox hosts', () => {
  it('share the steps of an engine, and the one that is left takes all', async () => {
    const [one, two] = [await serve(), await serve()];
    const sandboxes = await engineOf(one.host, { addresses: [one.host.address, two.host.address] });
    await seen(() => sandboxes.health().every(({ state }) => state === 'connected'));
    const used = [];
    for (let index = 0; index < 4; index++) {
      const host = picked(sandboxes);
      used.push(host.instance);
      await started(host, handMadeStep(ENDLESS));
    }
    expect(used.toSorted()).toEqual([one.instance, one.instance, two.instance, two.instance].toSorted());
    await two.host.process.kill9();
    await seen(() => sandboxes.locate(two.instance).state === 'unreachable');
    for (let index = 0; index < 3; index++) expect(picked(sandboxes).instance).toBe(one.instance);
  });
});
