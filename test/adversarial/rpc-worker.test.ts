/** Workers that die, hang, hoard, flood and lie, in their real jail: each harms its own step and nothing else. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  openScriptedHost,
  runStep,
  type ScriptedHost,
  startAttempt,
  stepOf,
} from '../fixtures/sandbox/scripted-host.ts';

const isLinux = process.platform === 'linux';
let scripted: ScriptedHost;

beforeAll(async () => {
  scripted = await openScriptedHost();
});
afterAll(async () => {
  await scripted.close();
});

/** Processes that run a worker's file below ours. */
function workerPids(): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').startsWith('/node\0') && isDescendant(Number(name));
    } catch {
      return false; // gone meanwhile
    }
  });
}

function isDescendant(pid: number): boolean {
  for (let at = pid; at > 1; ) {
    if (at === process.pid) return true;
    at = Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1] ?? 0);
  }
  return false;
}

describe.runIf(isLinux)('a worker', () => {
  it('runs a step behind a jail, without the environment of the host', async () => {
    const outcome = await runStep(scripted.host, stepOf('complete'));
    if (outcome.status !== 'COMPLETED') throw new Error(JSON.stringify(outcome));
    expect(outcome.receipt).toMatchObject({
      tier: 'isolate',
      jail: 'namespaces',
      rule: 'developer policy',
      imageDigest: null,
    });
    // The shell that mounts the root sets PWD and nothing else.
    expect(JSON.parse(outcome.outputsJson)).toMatchObject({ env: ['PWD'] });
  });

  it.each([
    ['crash', 'SANDBOX_CRASHED'],
    ['bad-frame', 'SANDBOX_CRASHED'],
    ['wrong-side', 'SANDBOX_CRASHED'],
    ['block', 'SANDBOX_CRASHED'],
    ['hoard', 'LIMIT_MEMORY'],
    ['huge-outputs', 'LIMIT_OUTPUT'],
    ['strange-outputs', 'OUTPUT_INVALID'],
    ['blame-infrastructure', 'SANDBOX_CRASHED'],
  ])('that does "%s" fails its step with %s, and the next step runs', async (what, code) => {
    expect(await runStep(scripted.host, stepOf(what))).toMatchObject({ status: 'FAILED', code });
    expect(await runStep(scripted.host, stepOf('complete'))).toMatchObject({ status: 'COMPLETED' });
  });

  it('is ended when its step runs past the wall limit, and the message says what to change', async () => {
    const outcome = await runStep(scripted.host, stepOf('never', { requestedWallMs: 300 }));
    expect(outcome).toMatchObject({
      status: 'FAILED',
      code: 'LIMIT_WALL',
      message: expect.stringMatching(/limits\.wallMs/),
    });
  });

  it('does not get away with logging beyond every cap', async () => {
    let lines = 0;
    const request = stepOf('flood-logs');
    const attempt = scripted.host.run(request, { onLog: () => lines++ });
    const outcome = await attempt.outcome;
    expect(outcome).toMatchObject({ status: 'FAILED', code: 'LIMIT_LOG' });
    expect(lines).toBeLessThan(1100);
  });

  it('that dies after its result does not take the result with it', async () => {
    expect(await runStep(scripted.host, stepOf('crash-after-result'))).toMatchObject({ status: 'COMPLETED' });
  });

  it('cannot end a step that is not its own, nor end one twice', async () => {
    const neighbour = startAttempt(scripted.host, stepOf('never', {}, 'neighbour'));
    await neighbour.started;
    expect(await runStep(scripted.host, stepOf('foreign-result'))).toMatchObject({ status: 'COMPLETED' });
    neighbour.attempt.cancel({ graceMs: 100, reason: 'enough' });
    expect(await neighbour.attempt.outcome).toMatchObject({ status: 'CANCELLED' });
  });

  it('that does not stop on cancel is killed, and CANCELLED comes when it is gone', async () => {
    const { attempt, started } = startAttempt(scripted.host, stepOf('never', {}, 'stubborn'));
    await started;
    const before = workerPids();
    attempt.cancel({ graceMs: 50, reason: 'a cancel that is ignored' });
    expect(await attempt.outcome).toMatchObject({ status: 'CANCELLED' });
    const after = new Set(workerPids());
    expect(before.filter((pid) => !after.has(pid))).toHaveLength(1);
  });

  it('that dies with several steps in it fails only the guilty one', async () => {
    const plugin = 'shared';
    await runStep(scripted.host, stepOf('complete', {}, plugin));
    const bystander = startAttempt(scripted.host, stepOf('never', { stepId: 'bystander' }, plugin));
    await bystander.started;
    expect(await runStep(scripted.host, stepOf('crash', {}, plugin))).toMatchObject({ code: 'SANDBOX_CRASHED' });
    bystander.attempt.cancel({ graceMs: 1000, reason: 'enough' });
    expect(await bystander.attempt.outcome).toMatchObject({ status: 'CANCELLED' });
  });
});

describe.runIf(isLinux)('a host', () => {
  it('leaves no process and no memory group behind when it closes', async () => {
    const other = await openScriptedHost();
    await runStep(other.host, stepOf('complete'));
    const running = startAttempt(other.host, stepOf('never'));
    await running.started;
    const before = workerPids();
    await other.close();
    expect(await running.attempt.outcome).toMatchObject({ status: 'LOST' });
    expect(workerPids().length).toBeLessThan(before.length);
    const groups = '/sys/fs/cgroup/memory';
    if (existsSync(groups)) {
      const ours = readdirSync(groups).filter((name) => name.startsWith(`flowops-sandbox-${process.pid}-`));
      expect(ours.length).toBeLessThanOrEqual(1); // the one of the other tests
    }
  });

  it('without jails runs only what a rule lets run without one, and the receipt says so', async () => {
    const bare = await openScriptedHost({ withoutJail: true });
    const outcome = await runStep(bare.host, stepOf('complete'));
    expect(outcome).toMatchObject({ status: 'COMPLETED', receipt: { jail: 'none' } });
    await bare.close();
  });

  it('keeps what an engine left behind for another one to attach to', async () => {
    const leased = await openScriptedHost();
    const engine = await leased.connect();
    const request = stepOf('never');
    await startAttempt(engine, request).started;
    await engine.close();
    const attached = await leased.host.attach({ ...request, epoch: 2 }, {});
    if (attached.state !== 'running') throw new Error(attached.state);
    attached.attempt.cancel({ graceMs: 100, reason: 'taken over' });
    expect(await attached.attempt.outcome).toMatchObject({ status: 'CANCELLED', message: '' });
    await leased.close();
  });
});
