/** The tier over a hand-written Docker: what a step is told, in which order, and what is left of its container. */
import type { PeerMessageInit } from '@flowops/proto/peer.ts';
import { Status } from '@flowops/proto/sandbox_pb.js';
import { pino } from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { openContainerTier } from '../../../../sandbox/container/open-container-tier.ts';
import type { Policy } from '../../../../sandbox/policy/decision.ts';
import type { Tier, TierEnd, TierRequest } from '../../../../sandbox/tier.ts';
import { type FakeContainer, FakeDocker, IMAGE } from './fake-docker.ts';

const BYTES = Buffer.from('//! flowops-plugin {}\n');
const REQUEST: TierRequest = {
  purpose: 'run',
  flowId: 'f',
  runId: 'run-1',
  stepId: 'step-1',
  attempt: 2,
  pluginId: 'p',
  pluginVersion: '1.0.0',
  idempotencyKey: 'k',
  inputsJson: Buffer.from('{"a":1}'),
  bundle: {
    digest: `sha256:${'b'.repeat(64)}`,
    bytes: BYTES,
    manifest: {
      name: 'acme.p',
      version: '1.0.0',
      description: '',
      permissions: { net: [], secrets: [] },
      inputs: {},
      outputs: {},
    },
  },
  limits: { memoryMb: 64, cpuMs: 1000, wallMs: 5000, outputBytes: 1000, logBytes: 1000, hostCalls: 5 },
  allowWasm: false,
  domain: 'publisher:acme',
  concurrent: 4,
  jail: 'required',
  freshness: 'isolate',
  container: { runtime: 'runc', pids: 64, cpus: 1, tmpfsMb: 16 },
  rule: 'rule 1',
  policyHash: 'sha256:p1',
};

const open: Tier[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((tier) => tier.close()));
});

function makeTier(options: { ahead?: number } = {}) {
  const docker = new FakeDocker();
  const listeners: ((policy: Policy) => void)[] = [];
  const tier = openContainerTier({
    image: 'flowops/step-runner:latest',
    maxContainers: 4,
    ahead: options.ahead ?? 0,
    cores: 2,
    dockerHost: 'unix:///nowhere',
    instance: 'host-1',
    policy: {
      onChange: (listener) => {
        listeners.push(listener);
        return () => {};
      },
    },
    log: pino({ level: 'silent' }),
    engine: docker,
  });
  open.push(tier);
  const run = (changes: Partial<TierRequest> = {}) => {
    const seen = { started: 0, logs: [] as string[], calls: [] as string[] };
    const started = Promise.withResolvers<void>();
    const tierRun = tier.run(
      { ...REQUEST, ...changes },
      {
        onStarted: () => {
          seen.started++;
          started.resolve();
        },
        onLog: ({ message }) => seen.logs.push(message),
        onProgress: () => {},
        onHostCall: async ({ method }) => {
          seen.calls.push(method);
          return { ok: true, payloadJson: Buffer.from('"yes"') };
        },
      },
    );
    return { ...tierRun, cancel: tierRun.cancel.bind(tierRun), seen, started: started.promise };
  };
  const reload = (policyHash: string): void => {
    for (const listener of listeners) {
      listener({ policyHash, identify: () => ({ publisher: undefined, problem: undefined }), decide: () => refuse });
    }
  };
  return { docker, tier, run, reload };
}

const refuse = { kind: 'refuse', code: 'POLICY_DENIED', message: 'no' } as const;

async function complete(container: FakeContainer, outputs = '{"a":2}'): Promise<void> {
  const token = await container.token();
  container.say({ case: 'started', value: { token } });
  container.say({ case: 'result', value: { token, status: Status.COMPLETED, outputsJson: Buffer.from(outputs) } });
}

function codeOf({ outcome }: TierEnd): string {
  return outcome.status === 'FAILED' ? outcome.code : outcome.status;
}

function messageOf({ outcome }: TierEnd): string {
  return outcome.status === 'COMPLETED' ? '' : outcome.message;
}

describe('a step', () => {
  it('gets the bundle, then its inputs and limits, and ends after its container does not run any more', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    await complete(container);
    const end = await step.ended;
    expect(end.outcome).toEqual({ status: 'COMPLETED', outputsJson: expect.anything() });
    expect([container.isRunning, step.seen.started]).toEqual([false, 1]);
    const [first, invoke] = container.messages;
    expect(first).toMatchObject({ case: 'putBundle', value: { digest: REQUEST.bundle.digest } });
    if (invoke?.case !== 'invoke') throw new Error('no invoke');
    expect(Buffer.from(invoke.value.inputsJson).toString()).toBe('{"a":1}');
    expect(invoke.value.limits).toMatchObject({ memoryMb: 64, wallMs: 5000 });
  });

  it('has a receipt with what Docker told: image, runtime, CPU and memory by the host', async () => {
    const { docker, run } = makeTier();
    const step = run();
    await complete(await docker.nth(0));
    expect((await step.ended).figures).toMatchObject({
      tier: 'container',
      jail: 'container',
      runtime: 'runc',
      freshness: 'container',
      imageDigest: IMAGE.id,
      peakMemoryBytes: 34,
      sources: { cpuMs: 'host', peakMemoryBytes: 'host' },
    });
  });

  it('ends without figures where Docker takes its time to tell them', async () => {
    const { docker, run } = makeTier();
    docker.neverMeasures = true;
    const step = run();
    await complete(await docker.nth(0));
    const end = await step.ended;
    expect([codeOf(end), end.figures.cpuMs, end.figures.peakMemoryBytes]).toEqual(['COMPLETED', null, null]);
  });

  it('names itself in the name of its container', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    await container.token();
    expect(container.name).toMatch(/^flowops-host-1-1-run-1\.step-1\.2$/);
    await complete(container);
    await step.ended;
  });

  it('is answered on its host calls, and only on its own', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    const token = await container.token();
    container.say({ case: 'hostCall', value: { token: Buffer.alloc(16, 7), callId: 1, method: 'stolen' } });
    container.say({ case: 'hostCall', value: { token, callId: 2, method: 'fetch' } });
    expect(await container.received('hostReply')).toMatchObject({ value: { callId: 2, ok: true } });
    expect(step.seen.calls).toEqual(['fetch']);
    await complete(container);
    await step.ended;
  });

  it('that told its result and died counts as told', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    await complete(container);
    container.exit({ exitCode: 137, isOomKilled: true });
    expect(codeOf(await step.ended)).toBe('COMPLETED');
  });

  it('whose container dies is a crash; out of memory when Docker says so', async () => {
    const { docker, run } = makeTier();
    const crash = run();
    await (await docker.nth(0)).token();
    docker.containers[0]?.exit({ exitCode: 1 });
    expect(codeOf(await crash.ended)).toBe('SANDBOX_CRASHED');
    const hog = run();
    await (await docker.nth(1)).token();
    docker.containers[1]?.exit({ exitCode: 137, isOomKilled: true });
    expect(codeOf(await hog.ended)).toBe('LIMIT_MEMORY');
  });

  it('whose runner breaks the protocol is a crash of the plugin, never a fault of ours', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    const token = await container.token();
    container.say({ case: 'needBundle', value: { digest: 'x' } });
    container.say({ case: 'attachReply', value: { token, state: 1 } });
    const end = await step.ended;
    expect([codeOf(end), container.isRunning]).toEqual(['SANDBOX_CRASHED', false]);
  });

  it.each<[string, (token: Uint8Array) => PeerMessageInit]>([
    ['started', (token) => ({ case: 'started', value: { token } })],
    ['needBundle', () => ({ case: 'needBundle', value: { digest: 'x' } })],
    ['a result of another step', () => ({ case: 'result', value: { token: Buffer.alloc(16, 7) } })],
  ])('that says %s on and on is ended', async (_, frame) => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    const token = await container.token();
    for (let i = 0; i < 1_100; i++) container.say(frame(token));
    expect([codeOf(await step.ended), container.isRunning]).toEqual(['SANDBOX_CRASHED', false]);
  });

  it('that logs beyond every cap is ended for it', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    const token = await container.token();
    for (let i = 0; i < 101_100; i++) container.say({ case: 'log', value: { token, level: 'info', message: 'x' } });
    const end = await step.ended;
    expect(codeOf(end)).toBe('LIMIT_LOG');
    expect(step.seen.logs.length).toBeLessThanOrEqual(1000);
  });
});

describe('a STOP', () => {
  it('while a container is only being made ends the step at once', async () => {
    const { docker, run } = makeTier();
    docker.isSilent = true;
    const step = run();
    await docker.nth(0);
    step.cancel({ graceMs: 60_000, reason: 'enough' });
    expect(codeOf(await step.ended)).toBe('CANCELLED');
  });

  it('before Docker has answered ends the step at once', async () => {
    const { run } = makeTier();
    const step = run();
    step.cancel({ graceMs: 60_000, reason: 'enough' });
    expect(codeOf(await step.ended)).toBe('CANCELLED');
  });

  it('is told to the runner, whose answer counts', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    const token = await container.token();
    step.cancel({ graceMs: 60_000, reason: 'enough' });
    expect(await container.received('cancel')).toMatchObject({ value: { graceMs: 60_000, reason: 'enough' } });
    container.say({ case: 'result', value: { token, status: Status.CANCELLED, message: 'stopped' } });
    expect(codeOf(await step.ended)).toBe('CANCELLED');
  });

  it('that is not heard ends in a kill, and is told after the container is seen not to run', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    await container.token();
    step.cancel({ graceMs: 0, reason: 'enough' });
    expect(codeOf(await step.ended)).toBe('CANCELLED');
    expect([container.isRunning, container.kills]).toEqual([false, 1]);
  });
});

describe('a container', () => {
  it('to which Docker did not apply an option gets no step, and its name is told', async () => {
    const { docker, run } = makeTier();
    docker.weaken = (hostConfig) => {
      hostConfig.MemorySwap = -1;
      hostConfig.PidsLimit = null;
    };
    const end = await run().ended;
    expect(codeOf(end)).toBe('SANDBOX_UNAVAILABLE');
    expect(messageOf(end)).toContain('Docker did not apply HostConfig.MemorySwap, HostConfig.PidsLimit');
    expect(docker.containers[0]?.messages).toEqual([]);
    expect(docker.containers[0]?.isRemoved).toBe(true);
  });

  it('that waits is used for the next step of the same kind, and for that one only', async () => {
    const { docker, run } = makeTier({ ahead: 1 });
    const first = run();
    await complete(await docker.nth(0));
    await first.ended;
    const waiting = await docker.nth(1);
    const second = run();
    await complete(waiting);
    expect(codeOf(await second.ended)).toBe('COMPLETED');
    expect(waiting.messages.filter((message) => message.case === 'invoke')).toHaveLength(1);
  });

  it('that waits under the old policy is removed when another is in force', async () => {
    const { docker, run, reload } = makeTier({ ahead: 1 });
    const first = run();
    await complete(await docker.nth(0));
    await first.ended;
    const second = run();
    const waiting = await docker.nth(1);
    await complete(waiting);
    await second.ended;
    const left = await docker.nth(2);
    reload('sha256:p2');
    const third = run({ policyHash: 'sha256:p2' });
    await complete(await docker.nth(3));
    await third.ended;
    expect(left.messages).toEqual([]);
  });

  it('whose runner says something before it has a step is not used', async () => {
    const { docker, run } = makeTier();
    docker.isSilent = true;
    const step = run();
    for (let i = 0; i < 3; i++) {
      const container = await docker.nth(i);
      container.start();
      container.runner?.send({ case: 'started', value: { token: Buffer.alloc(16) } });
      container.exit({ exitCode: 1 });
    }
    const end = await step.ended;
    expect(codeOf(end)).toBe('SANDBOX_UNAVAILABLE');
  });
});

describe('when something is not there', () => {
  it('the step says so: the runtime and what to install', async () => {
    const { docker, run } = makeTier();
    docker.runtimes = ['runc'];
    const end = await run({ container: { ...REQUEST.container, runtime: 'runsc' } }).ended;
    expect(codeOf(end)).toBe('SANDBOX_UNAVAILABLE');
    expect(messageOf(end)).toMatch(/rule 1 .*no runtime runsc .*Install gVisor/);
  });

  it('the step says so: the image and the command that builds it; once it is there, the next step runs', async () => {
    const { docker, run } = makeTier();
    docker.knownImage = undefined;
    expect(messageOf(await run().ended)).toMatch(/flowops\/step-runner:latest is not there.*npm run image/);
    docker.knownImage = IMAGE;
    const next = run();
    await complete(await docker.nth(0));
    expect(codeOf(await next.ended)).toBe('COMPLETED');
  });

  it('the step says so: Docker, and that a later try may work; the next one tries again', async () => {
    const { docker, run } = makeTier();
    docker.isGone = true;
    const end = await run().ended;
    expect(end.outcome).toMatchObject({ code: 'SANDBOX_UNAVAILABLE', isRetryable: true });
    expect(messageOf(end)).toContain('Docker does not answer (connect ECONNREFUSED)');
    docker.isGone = false;
    const next = run();
    await complete(await docker.nth(0));
    expect(codeOf(await next.ended)).toBe('COMPLETED');
  });
});

describe('when Docker is lost', () => {
  it('a step that came before anybody noticed waits for its return', async () => {
    const { docker, run } = makeTier();
    const first = run();
    await complete(await docker.nth(0));
    await first.ended;
    docker.isGone = true; // its open connection does not tell yet
    const before = docker.calls.length;
    const step = run();
    // Its container could not be made, and it asks for Docker again; further calls look whether that is back.
    const seen = () => docker.calls.slice(before, before + 3);
    await vi.waitFor(() => expect(seen()).toEqual(['create', 'daemon', 'daemon']), { timeout: 5_000 });
    docker.isGone = false;
    await complete(await docker.nth(1));
    expect(codeOf(await step.ended)).toBe('COMPLETED');
  });

  it('in the middle of a step, that is a fault of ours', async () => {
    const { docker, run } = makeTier();
    const step = run();
    const container = await docker.nth(0);
    container.say({ case: 'started', value: { token: await container.token() } });
    await step.started;
    docker.lose();
    docker.isGone = false; // back at once, but not the daemon that had the step
    const end = await step.ended;
    expect(codeOf(end)).toBe('SANDBOX_UNAVAILABLE');
    expect(messageOf(end)).toContain('Docker was lost in the middle');
  });
});
