/** The sandbox host as a process with its real workers: what it sees, how it ends, and who ends with it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FormerHosts } from '../../engine/sandbox-client/former-hosts.ts';
import type { AttemptListener, AttemptRequest } from '../../proto/attempt.ts';
import { instanceState } from '../../proto/host-instances.ts';
import { type HostProcess, type HostProcessOptions, startHostProcess } from '../../proto/host-process.ts';
import { handMadeStep } from '../support/hand-made-step.ts';

const quiet = { role: 'cli', instance: 'test', env: process.env, onLog: () => {} } as const;
const developer = { policy: { kind: 'developer' } } as const;
const isLinux = process.platform === 'linux';

async function start(options: Partial<HostProcessOptions> = developer): Promise<HostProcess> {
  const started = await startHostProcess({ ...quiet, ...options });
  if (!started.ok) throw new Error(started.message);
  return started.host;
}

async function run(host: HostProcess, request: AttemptRequest, listener: AttemptListener = {}) {
  const attempt = host.run(request, listener);
  const outcome = await attempt.outcome;
  attempt.acknowledge();
  return outcome;
}

describe('a host process', () => {
  let host: HostProcess;
  beforeAll(async () => {
    host = await start();
  });
  afterAll(async () => {
    await host.close();
  });

  it('runs a plugin in a real isolate and tells what it cost', async () => {
    const outcome = await run(host, handMadeStep('async () => ({ a: 41 + 1 })'));
    expect(outcome).toMatchObject({ status: 'COMPLETED', outputsJson: '{"a":42}' });
    if (outcome.status === 'COMPLETED')
      expect(outcome.receipt).toMatchObject({ tier: 'isolate', rule: 'developer policy' });
  });

  it('reads what a bundle declares without running it', async () => {
    const outcome = await run(host, handMadeStep('() => { for (;;); }', { purpose: 'inspect' }));
    if (outcome.status !== 'COMPLETED') throw new Error(JSON.stringify(outcome));
    expect(JSON.parse(outcome.outputsJson)).toMatchObject({ name: 'test.real', version: '1.0.0' });
  });

  it.each([
    ['throws', '() => { throw new Error("bad") }', 'PLUGIN_ERROR'],
    ['never ends', '() => { for (;;); }', 'LIMIT_WALL'],
    ['never settles', '() => new Promise(() => {})', 'LIMIT_WALL'],
    ['eats its heap', '() => { const a = []; for (;;) a.push(new Array(1e5).fill(Math.random())); }', 'LIMIT_MEMORY'],
  ])('ends a plugin that %s, and runs the next step', async (_, code, expected) => {
    const outcome = await run(host, handMadeStep(code, { requestedWallMs: expected === 'LIMIT_WALL' ? 500 : 20_000 }));
    expect(outcome).toMatchObject({ status: 'FAILED', code: expected });
    expect(await run(host, handMadeStep('async () => ({ a: 1 })'))).toMatchObject({ status: 'COMPLETED' });
  });

  it('cancels a plugin that does not listen', async () => {
    const started = Promise.withResolvers<void>();
    const attempt = host.run(handMadeStep('() => { for (;;); }'), { onStarted: started.resolve });
    await started.promise;
    attempt.cancel({ graceMs: 50, reason: 'enough' });
    expect(await attempt.outcome).toMatchObject({ status: 'CANCELLED' });
  });

  it.runIf(isLinux)('sees its own settings only, and no credential of the engine', async () => {
    const secretive = await start({
      ...developer,
      env: {
        ...process.env,
        KAFKA_SASL_PASSWORD: 'k',
        REDIS_URL: 'redis://u:p@h',
        FLOWOPS_TOKEN: 't',
        SANDBOX_WORKERS: '2',
      },
    });
    const seen = readFileSync(`/proc/${secretive.pid}/environ`, 'utf8')
      .split('\0')
      .map((line) => line.split('=')[0]);
    expect(seen).toContain('SANDBOX_WORKERS');
    for (const name of ['KAFKA_SASL_PASSWORD', 'REDIS_URL', 'FLOWOPS_TOKEN']) expect(seen).not.toContain(name);
    await secretive.close();
  });
});

describe('the start of a host process', () => {
  it('fails with CONFIG_INVALID and the reason when its policy is wrong', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'host-test-'));
    const file = path.join(folder, 'sandbox-policy.yaml');
    await writeFile(file, 'version: 1\nrulez: []\n');
    const started = await startHostProcess({ ...quiet, policy: { kind: 'file', file } });
    expect(started).toMatchObject({ ok: false, code: 'CONFIG_INVALID', message: expect.stringContaining('rulez') });
    await rm(folder, { recursive: true });
  });

  it('fails with the name of a setting that is wrong', async () => {
    const started = await startHostProcess({ ...quiet, env: { ...process.env, SANDBOX_WORKERS: 'many' } });
    expect(started).toMatchObject({
      ok: false,
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('SANDBOX_WORKERS'),
    });
  });

  it('fails without an exception when there is nothing to start', async () => {
    const started = await startHostProcess({ ...quiet, entry: new URL('file:///nowhere/main.ts') });
    expect(started).toMatchObject({ ok: false, code: 'SANDBOX_UNAVAILABLE' });
  });
});

describe.runIf(isLinux)('the end of a host process', () => {
  const children = (pid: number): number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').map(Number).filter(Boolean);

  const gone = (pids: readonly number[]) =>
    expect.poll(() => pids.filter((pid) => existsSync(`/proc/${pid}`)), { timeout: 15_000, interval: 20 }).toEqual([]);

  it('by close takes its workers with it', async () => {
    const host = await start();
    await run(host, handMadeStep('async () => ({ a: 1 })'));
    const workers = children(host.pid);
    expect(workers.length).toBeGreaterThan(0);
    await host.close();
    expect(await host.exited).toEqual({ reason: 'exit code 0' });
    expect([...workers, host.pid].filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
  });

  it('by SIGKILL takes its workers with it, and the attempts are LOST', async () => {
    const host = await start();
    const started = Promise.withResolvers<void>();
    const attempt = host.run(handMadeStep('() => { for (;;); }'), { onStarted: started.resolve });
    await started.promise;
    const workers = children(host.pid).flatMap((wrapper) => [wrapper, ...children(wrapper)]);
    process.kill(host.pid, 'SIGKILL');
    expect(await attempt.outcome).toMatchObject({ status: 'LOST' });
    expect(await host.exited).toEqual({ reason: 'signal SIGKILL' });
    await gone(workers);
    await host.close();
  });

  it('is proven by its home, while it lives and after SIGKILL', async () => {
    const home = await mkdtemp(path.join(tmpdir(), 'host-test-'));
    const host = await start({ ...developer, role: 'engine', env: { ...process.env, FLOWOPS_HOME: home } });
    // From the moment on when it knows that it speaks to an engine.
    await expect.poll(() => instanceState(home, host.instance), { interval: 20 }).toBe('running');
    const other = new FormerHosts({ home, onEnded: () => told.resolve() });
    const told = Promise.withResolvers<void>();
    expect(other.locate(host.instance)).toEqual({ state: 'unreachable' });
    process.kill(host.pid, 'SIGKILL');
    await told.promise;
    expect(other.locate(host.instance)).toEqual({ state: 'ended' });
    expect(other.locate('host-somewhere')).toEqual({ state: 'unreachable' });
    other.close();
    await host.close();
    await rm(home, { recursive: true });
  });

  it('that hangs is brought about when it was silent for its lease, and blamed on it', async () => {
    const env = { ...process.env, SANDBOX_LEASE_MS: '1000' };
    const host = await start({ ...developer, role: 'engine', env });
    const started = Promise.withResolvers<void>();
    const attempt = host.run(handMadeStep('() => new Promise(() => {})'), { onStarted: started.resolve });
    await started.promise;
    process.kill(host.pid, 'SIGSTOP');
    expect(await attempt.outcome).toMatchObject({ status: 'LOST', aliveForMs: 0, hostEnded: true });
    expect(await host.closed).toEqual({ reason: 'nothing was heard of it for 1000 ms' });
    expect(existsSync(`/proc/${host.pid}`)).toBe(false);
  });

  it('comes with the death of the process that started it', async () => {
    const parent = spawn(process.execPath, [path.join(import.meta.dirname, '../fixtures/sandbox/host-parent.ts')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(parent.stdout, 'data');
    const pid = Number(String(line));
    const all = [pid, ...children(pid).flatMap((wrapper) => [wrapper, ...children(wrapper)])];
    expect(all.length).toBeGreaterThan(2);
    parent.kill('SIGKILL');
    await gone(all);
  });
});
