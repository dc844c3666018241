/**
 * The container tier on a real Docker daemon, on every runtime it has: what a step gets, how it ends, what is left.
 * The tier is in this process; the last part has a sandbox host of its own, to be killed.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startHostProcess } from '../../proto/host-process.ts';
import type { EffectiveLimits } from '../../proto/receipt.ts';
import { BundleStore, type StoredBundle } from '../../sandbox/bundles/bundle-store.ts';
import type { ListedContainer } from '../../sandbox/container/docker-engine.ts';
import { dockerEngine } from '../../sandbox/container/dockerode-engine.ts';
import { APP_FILTER } from '../../sandbox/container/labels.ts';
import { openContainerTier } from '../../sandbox/container/open-container-tier.ts';
import type { Tier, TierEnd, TierEvents, TierRequest, TierRun } from '../../sandbox/tier.ts';
import { type DockerService, startDocker } from '../services/docker.ts';
import { handMadeBundle, handMadeStep } from '../support/hand-made-step.ts';
import { skipBecause } from '../support/skip.ts';

const LIMITS: EffectiveLimits = {
  memoryMb: 128,
  cpuMs: 5_000,
  wallMs: 20_000,
  outputBytes: 1_000_000,
  logBytes: 65_536,
  hostCalls: 10,
};
const log = pino({ level: 'silent' });

let docker: DockerService;
beforeAll(async () => {
  docker = await startDocker();
}, 300_000);
afterAll(async () => {
  await docker.stop();
});

function bundleOf(run: string): StoredBundle {
  const added = new BundleStore().add(handMadeBundle(run));
  if (!added.ok) throw new Error(added.problem);
  return added.bundle;
}

type Runtime = 'runc' | 'runsc';

function requestOf(run: string, runtime: Runtime, limits: Partial<EffectiveLimits> = {}): TierRequest {
  return {
    purpose: 'run',
    flowId: 'f',
    runId: 'r',
    stepId: 's',
    attempt: 1,
    pluginId: 'test.real',
    pluginVersion: '1.0.0',
    idempotencyKey: 'f/r/s',
    inputsJson: Buffer.from('{}'),
    bundle: bundleOf(run),
    limits: { ...LIMITS, ...limits },
    allowWasm: false,
    domain: 'plugin:test.real',
    concurrent: 4,
    jail: 'required',
    freshness: 'isolate',
    container: { runtime, pids: runtime === 'runc' ? 64 : 256, cpus: 1, tmpfsMb: 16 },
    rule: 'rule 1',
    policyHash: 'sha256:p',
  };
}

const quiet: TierEvents = {
  onStarted: () => {},
  onLog: () => {},
  onProgress: () => {},
  onHostCall: async () => ({ ok: false, code: 'POLICY_DENIED', message: 'nothing is granted' }),
};

interface World {
  readonly tier: Tier;
  readonly instance: string;
  start(run: string, limits?: Partial<EffectiveLimits>): { run: TierRun; started: Promise<void> };
  containers(): Promise<readonly ListedContainer[]>;
}

const open: Tier[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((tier) => tier.close()));
});

function openTier(
  runtime: Runtime,
  options: { host?: string; ahead?: number; image?: string; max?: number } = {},
): World {
  const instance = `host-${randomBytes(4).toString('hex')}`;
  const tier = openContainerTier({
    image: options.image ?? docker.image,
    maxContainers: options.max ?? 4,
    ahead: options.ahead ?? 0,
    cores: 2,
    dockerHost: options.host ?? docker.host,
    instance,
    policy: { onChange: () => () => {} },
    log,
  });
  open.push(tier);
  return {
    tier,
    instance,
    start: (run, limits) => {
      const started = Promise.withResolvers<void>();
      const events = { ...quiet, onStarted: () => started.resolve() };
      return { run: tier.run(requestOf(run, runtime, limits), events), started: started.promise };
    },
    containers: () => containersOf(instance),
  };
}

/** Running or not, of one host. */
async function containersOf(instance: string): Promise<readonly ListedContainer[]> {
  const listed = await dockerEngine(docker.host).list(APP_FILTER);
  if (!listed.ok) throw new Error(listed.failure.problem);
  return listed.value.filter(({ labels }) => labels['flowops.instance'] === instance);
}

async function untilNone(instance: string, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while ((await containersOf(instance)).length > 0) {
    if (performance.now() > deadlineMs) throw new Error('containers are left');
    await sleep(50);
  }
}

function codeOf({ outcome }: TierEnd): string {
  return outcome.status === 'FAILED' ? outcome.code : outcome.status;
}

describe.each(['runc', 'runsc'] as const)('a step in a container of %s', (runtime) => {
  beforeEach((context) => {
    if (!docker.runtimes.includes(runtime)) skipBecause(context, `this Docker has no ${runtime}`);
  });

  it('ends with its outputs and a receipt whose figures come from the host', async () => {
    const { tier, start, instance } = openTier(runtime);
    const end = await start('async () => ({ a: 41 + 1 })').run.ended;
    expect(end.outcome).toMatchObject({ status: 'COMPLETED' });
    expect(end.figures).toMatchObject({
      tier: 'container',
      jail: 'container',
      freshness: 'container',
      runtime,
      imageDigest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      sources: { cpuMs: 'host', peakMemoryBytes: 'host' },
    });
    expect(end.figures.cpuMs).toBeGreaterThan(0);
    expect(end.figures.peakMemoryBytes).toBeGreaterThan(10_000_000);
    await tier.close();
    expect(await containersOf(instance)).toEqual([]);
  });

  it('finds a container that waits for it, and leaves a fresh one behind', async () => {
    const { start, containers } = openTier(runtime, { ahead: 1 });
    await start('async () => ({ a: 1 })').run.ended;
    // Names tell which container had a step.
    const waiting = async () => (await containers()).filter(({ state }) => state === 'running');
    while ((await waiting()).length === 0) await sleep(50);
    await sleep(1_000);
    const [ahead] = await waiting();
    const second = await start('async () => ({ a: 2 })').run.ended;
    expect(second.figures.queueMs).toBeLessThan(100);
    while ((await waiting()).some(({ id }) => id === ahead?.id)) await sleep(50);
    while ((await waiting()).length === 0) await sleep(50);
  });

  it.each([
    ['LIMIT_MEMORY', 'async () => { const a = []; for (;;) a.push(new Uint8Array(8e6).fill(1)); }', {}],
    ['LIMIT_CPU', 'async () => { for (;;); }', { cpuMs: 500 }],
    ['LIMIT_WALL', 'async () => { await new Promise((done) => setTimeout(done, 60_000)); }', { wallMs: 300 }],
    ['LIMIT_OUTPUT', 'async () => ({ a: "x".repeat(2000) })', { outputBytes: 1000 }],
    ['LIMIT_LOG', 'async ({ logger }) => { for (;;) logger.info("x".repeat(100)); }', {}],
    ['PLUGIN_ERROR', 'async () => { throw new Error("no"); }', {}],
  ] as const)('ends with %s when it breaks that limit, and nothing of it is left', async (code, run, limits) => {
    const { start, instance } = openTier(runtime);
    const end = await start(run, limits).run.ended;
    expect(codeOf(end)).toBe(code);
    await untilNone(instance);
  });

  it('that listens is told of a STOP and ends by itself', async () => {
    const { start } = openTier(runtime);
    const body =
      'new Promise((_, stop) => context.signal.addEventListener("abort", () => stop(context.signal.reason)))';
    const { run, started } = start(`async ({ context }) => { await ${body}; }`);
    await started;
    run.cancel({ graceMs: 5_000, reason: 'enough' });
    expect(codeOf(await run.ended)).toBe('CANCELLED');
  });

  it('that ignores a STOP is killed after its grace, and is proven to be gone when that is told', async () => {
    const { start, containers } = openTier(runtime);
    const { run, started } = start('async () => { for (;;); }', { cpuMs: 60_000 });
    await started;
    run.cancel({ graceMs: 100, reason: 'enough' });
    expect(codeOf(await run.ended)).toBe('CANCELLED');
    for (const { id } of await containers()) {
      const facts = await dockerEngine(docker.host).inspect(id);
      // Docker may need a moment more than the kernel to see it.
      if (facts.ok && facts.value.isRunning) expect(() => process.kill(facts.value.pid, 0)).toThrow();
    }
  });

  it('is stopped at once while its container is only being made', async () => {
    const { start } = openTier(runtime);
    const { run } = start('async () => ({ a: 1 })');
    await sleep(50);
    run.cancel({ graceMs: 60_000, reason: 'enough' });
    const end = await run.ended;
    expect([codeOf(end), end.figures.runMs]).toEqual(['CANCELLED', 0]);
  });
});

describe('the container tier', () => {
  it('says which image is missing and how to build it, and goes on once it is there', async () => {
    const { start } = openTier('runc', { image: 'flowops/there-is-none:1' });
    const { outcome } = await start('async () => ({})').run.ended;
    expect(outcome).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(/flowops\/there-is-none:1.*npm run image/),
    });
  });

  it('says so when there is no Docker', async () => {
    const { start } = openTier('runc', { host: 'unix:///nowhere/docker.sock' });
    const { outcome } = await start('async () => ({})').run.ended;
    expect(outcome).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('Docker does not answer'),
      isRetryable: true,
    });
  });
});

/** Docker as seen through a connection that can be cut: for the host the daemon is gone, and its containers' stdin too. */
class CutDocker {
  readonly host: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  constructor(server: Server, socketPath: string) {
    this.#server = server;
    this.host = `unix://${socketPath}`;
  }

  static async open(target: string): Promise<CutDocker> {
    const folder = await mkdtemp(path.join(tmpdir(), 'flowops-docker-'));
    const socketPath = path.join(folder, 'docker.sock');
    const server = createServer({ allowHalfOpen: true });
    const cut = new CutDocker(server, socketPath);
    server.on('connection', (near) => {
      if (cut.#isCut) return near.destroy();
      const far = connect({ path: target.replace('unix://', ''), allowHalfOpen: true });
      for (const socket of [near, far]) {
        cut.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => cut.#sockets.delete(socket));
      }
      near.pipe(far);
      far.pipe(near);
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
      return undefined;
    });
    server.listen(socketPath);
    await once(server, 'listening');
    return cut;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await rm(path.dirname(this.host.replace('unix://', '')), { recursive: true, force: true });
  }
}

describe('when Docker is lost', () => {
  it('in the middle of a step, the step ends as by a fault of ours, after its container did; then it is back', async () => {
    const cut = await CutDocker.open(docker.host);
    try {
      const { start, instance, tier } = openTier('runc', { host: cut.host, ahead: 1 });
      const { run, started } = start('async () => { await new Promise((done) => setTimeout(done, 60_000)); }');
      await started;
      cut.cut();
      expect(codeOf(await run.ended)).toBe('SANDBOX_UNAVAILABLE');
      expect((await containersOf(instance)).filter(({ state }) => state === 'running').length).toBeLessThanOrEqual(1);
      const next = start('async () => ({ a: 1 })').run;
      cut.mend();
      expect(codeOf(await next.ended)).toBe('COMPLETED');
      await tier.close();
      await untilNone(instance);
    } finally {
      await cut.close();
    }
  });

  it('a STOP ends at once while steps wait for its return', async () => {
    const cut = await CutDocker.open(docker.host);
    try {
      const { start, instance } = openTier('runc', { host: cut.host });
      await start('async () => ({ a: 1 })').run.ended;
      await untilNone(instance);
      cut.cut();
      await sleep(200);
      const { run } = start('async () => ({ a: 1 })');
      run.cancel({ graceMs: 60_000, reason: 'enough' });
      expect(codeOf(await run.ended)).toBe('CANCELLED');
    } finally {
      await cut.close();
    }
  });
});

describe('a sandbox host that is killed in the middle of a step', () => {
  it('leaves no container that runs, and the next host removes what is left of it', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'flowops-host-'));
    const file = path.join(folder, 'policy.yaml');
    await writeFile(file, 'version: 1\ndefaults:\n  tier: container\n');
    const env = { ...process.env, ...docker.env, FLOWOPS_HOME: folder };
    const startHost = async () => {
      const policy = { kind: 'file', file } as const;
      const answer = await startHostProcess({ role: 'cli', instance: 'test', env, policy, onLog: () => {} });
      if (!answer.ok) throw new Error(answer.message);
      return answer.host;
    };
    const before = new Set((await listAll()).map(({ id }) => id));
    const ours = async () => (await listAll()).filter(({ id }) => !before.has(id));
    const host = await startHost();
    const started = Promise.withResolvers<void>();
    const attempt = host.run(handMadeStep('async () => { for (;;); }'), { onStarted: () => started.resolve() });
    const early = attempt.outcome.then((outcome) => {
      throw new Error(`it ended: ${JSON.stringify(outcome)}`);
    });
    await Promise.race([started.promise, early]);
    early.catch(() => {});
    process.kill(host.pid, 'SIGKILL');
    await host.exited;
    while ((await ours()).some(({ state }) => state === 'running')) await sleep(50);
    expect((await ours()).length).toBeGreaterThan(0);
    const next = await startHost();
    try {
      while ((await ours()).length > 0) await sleep(100);
    } finally {
      await next.close();
      await rm(folder, { recursive: true, force: true });
    }
  });

  async function listAll(): Promise<readonly ListedContainer[]> {
    const listed = await dockerEngine(docker.host).list(APP_FILTER);
    if (!listed.ok) throw new Error(listed.failure.problem);
    return listed.value;
  }
});
