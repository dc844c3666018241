/** The isolate tier on a machine without namespaces, over a real Docker daemon, on both runtimes. */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { docker as runDocker } from '../../bin/image/docker-cli.ts';
import type { EffectiveLimits } from '../../proto/receipt.ts';
import { openHoldings } from '../../sandbox/container/holdings.ts';
import { openIsolateTier } from '../../sandbox/isolate/open-tier.ts';
import { workerFiles } from '../../sandbox/isolate/worker-files.ts';
import type { Tier, TierEnd, TierRequest, TierRun } from '../../sandbox/tier.ts';
import { type DockerService, startDocker, workerImage } from '../services/docker.ts';
import { codeOf, containersOf, storedBundle, untilNone } from '../support/container-tier.ts';
import { skipBecause } from '../support/skip.ts';

const LIMITS = { memoryMb: 64, cpuMs: 5_000, wallMs: 30_000, outputBytes: 1e6, logBytes: 65_536, hostCalls: 10 };
const SLOW_MS = 120_000;
const log = pino({ level: 'silent' });

let service: DockerService;
let image: string;
beforeAll(async () => {
  service = await startDocker();
  image = await workerImage(service);
}, 300_000);
afterAll(() => service?.stop());

interface OpenedTier {
  readonly tier: Tier;
  readonly instance: string;
  start(body: string, options?: StepOptions): { readonly run: TierRun; readonly started: Promise<void> };
  run(body: string, options?: StepOptions): Promise<TierEnd>;
}

interface StepOptions {
  readonly limits?: Partial<EffectiveLimits>;
  readonly jail?: TierRequest['jail'];
  readonly plugin?: string;
}

const open: OpenedTier[] = [];
afterEach(async () => {
  for (const { tier, instance } of open.splice(0)) {
    await tier.close();
    await untilNone(service, instance);
  }
}, SLOW_MS);

async function openTier(
  runtime: 'runc' | 'runsc',
  options: { image?: string; isBlind?: true } = {},
): Promise<OpenedTier> {
  const instance = `host-${randomBytes(4).toString('hex')}`;
  const viewOf = options.isBlind ? { viewOf: () => undefined } : {};
  const holdings = openHoldings({ dockerHost: service.host, instance, log, ...viewOf });
  const tier = await openIsolateTier({
    ...{ files: await workerFiles(), maxWorkers: 4, cores: 1, instance, log, withoutJail: true },
    containers: { holdings, image: options.image ?? image, runtime },
  });
  const start: OpenedTier['start'] = (body, step = {}) => {
    const started = Promise.withResolvers<void>();
    const request: TierRequest = {
      ...{ purpose: 'run', flowId: 'f', runId: 'r', stepId: 's', attempt: 1 },
      ...{ pluginId: 'test.real', pluginVersion: '1.0.0', idempotencyKey: 'f/r/s', inputsJson: Buffer.from('{}') },
      ...{ bundle: storedBundle(body), limits: { ...LIMITS, ...step.limits }, allowWasm: false },
      ...{ domain: `plugin:${step.plugin ?? 'test.real'}`, concurrent: 4, jail: step.jail ?? 'required' },
      ...{ freshness: 'isolate', container: { runtime, pids: 256, cpus: 1, tmpfsMb: 16 } },
      ...{ rule: 'rule 1', policyHash: 'sha256:p' },
    };
    const run = tier.run(request, {
      onStarted: () => started.resolve(),
      onLog: () => {},
      onProgress: () => {},
      onHostCall: async () => ({ ok: false, code: 'POLICY_DENIED', message: 'nothing is granted' }),
    });
    return { run, started: started.promise };
  };
  const opened = { tier, instance, start, run: (body: string, step?: StepOptions) => start(body, step).run.ended };
  open.push(opened);
  return opened;
}

async function inspected(id: string, field: string): Promise<string> {
  const told = await runDocker({ host: service.host, say: () => {} }, ['inspect', '--format', field, id]);
  if (!told.ok) throw new Error(told.problem);
  return told.stdout.trim();
}

const runningOf = async (instance: string) =>
  (await containersOf(service, instance)).filter(({ state }) => state === 'running').map(({ id }) => id);

describe.each(['runc', 'runsc'] as const)('the isolate tier in worker containers on %s', (runtime) => {
  const needs = (context: TestContext): void => {
    if (!service.runtimes.includes(runtime)) skipBecause(context, `Docker has no ${runtime} here`);
  };

  it(
    'runs what requires a jail, several steps in one container, and says in the receipt where',
    async (context) => {
      needs(context);
      const tier = await openTier(runtime);
      const first = await tier.run('return { o: 1 };');
      const [only, ...more] = await runningOf(tier.instance);
      const second = await tier.run('return { o: 2 };');
      expect([codeOf(first), codeOf(second)]).toEqual(['COMPLETED', 'COMPLETED']);
      expect([only !== undefined, more]).toEqual([true, []]);
      expect(await runningOf(tier.instance)).toContain(only);
      expect(second.figures).toMatchObject({
        tier: 'isolate',
        jail: 'container',
        runtime: expect.stringMatching(new RegExp(`^isolated-vm [\\d.]+ in ${runtime}$`)),
        imageDigest: await inspected(image, '{{.Id}}'),
        sources: { cpuMs: 'host' },
      });
    },
    SLOW_MS,
  );

  it(
    'gives each trust domain a container of its own, with nothing to write to and no network',
    async (context) => {
      needs(context);
      const tier = await openTier(runtime);
      await tier.run('return { o: 1 };', { plugin: 'one' });
      await tier.run('return { o: 1 };', { plugin: 'two' });
      const ids = await runningOf(tier.instance);
      expect(ids).toHaveLength(2);
      for (const id of ids) {
        const facts =
          '{{.HostConfig.NetworkMode}} {{.HostConfig.ReadonlyRootfs}} {{len .HostConfig.Tmpfs}} {{.Config.User}}';
        expect(await inspected(id, facts)).toBe('none true 0 65532:65532');
      }
    },
    SLOW_MS,
  );

  it(
    'ends what takes too much CPU or memory, with another container for the next step',
    async (context) => {
      needs(context);
      const tier = await openTier(runtime);
      expect(codeOf(await tier.run('for (;;);', { limits: { cpuMs: 500 } }))).toBe('LIMIT_CPU');
      const hoards = 'const all = []; for (;;) all.push(new Array(100_000).fill(all.length));';
      expect(codeOf(await tier.run(hoards))).toBe('LIMIT_MEMORY');
      expect(codeOf(await tier.run('return { o: 1 };'))).toBe('COMPLETED');
    },
    SLOW_MS,
  );

  it(
    'where only Docker can be asked, ends what takes too much and tells no figure of the kernel',
    async (context) => {
      needs(context);
      const tier = await openTier(runtime, { isBlind: true });
      const done = await tier.run('return { o: 1 };');
      expect(done.figures).toMatchObject({
        jail: 'container',
        sources: { cpuMs: 'worker', peakMemoryBytes: 'worker' },
      });
      const endless =
        'for (;;) await new Promise((resolve) => { const t = Date.now(); while (Date.now() - t < 20); setTimeout(resolve, 1); });';
      expect(codeOf(await tier.run(endless, { limits: { cpuMs: 500 } }))).toBe('LIMIT_CPU');
      expect(codeOf(await tier.run('return { o: 1 };'))).toBe('COMPLETED');
    },
    SLOW_MS,
  );

  it(
    'STOPPED is told when the container of a step that does not stop has ended, blind or not',
    async (context) => {
      needs(context);
      for (const isBlind of [undefined, true] as const) {
        const tier = await openTier(runtime, isBlind === undefined ? {} : { isBlind });
        const { run, started } = tier.start("'x'.repeat(2 ** 28).replace(/x/g, 'y'); return { o: 1 };", {
          limits: { memoryMb: 1024 },
        });
        await started;
        const [busy = ''] = await runningOf(tier.instance);
        run.cancel({ graceMs: 100, reason: 'enough' });
        expect(codeOf(await run.ended)).toBe('CANCELLED');
        // Its isolate was proven to have ended, or its container is.
        const isIdle = codeOf(await tier.run('return { o: 1 };')) === 'COMPLETED';
        expect([busy !== '', isIdle]).toEqual([true, true]);
      }
    },
    SLOW_MS,
  );

  it(
    'a container that somebody else killed costs its step, and is removed',
    async (context) => {
      needs(context);
      const tier = await openTier(runtime);
      const { run, started } = tier.start('await new Promise(() => {});');
      await started;
      const [id = ''] = await runningOf(tier.instance);
      await runDocker({ host: service.host, say: () => {} }, ['kill', id]);
      expect(codeOf(await run.ended)).toBe('SANDBOX_CRASHED');
      expect(codeOf(await tier.run('return { o: 1 };'))).toBe('COMPLETED');
      expect((await containersOf(service, tier.instance)).map((one) => one.id)).not.toContain(id);
    },
    SLOW_MS,
  );
});

describe('the isolate tier in worker containers', () => {
  it(
    'raises the limit of a container for steps that may take more',
    async () => {
      const tier = await openTier('runc');
      expect(codeOf(await tier.run('return { o: 1 };', { limits: { memoryMb: 1_000 } }))).toBe('COMPLETED');
      const [id = ''] = await runningOf(tier.instance);
      expect(Number(await inspected(id, '{{.HostConfig.Memory}}'))).toBe((192 + 1_500) * 1024 * 1024);
    },
    SLOW_MS,
  );

  it(
    'is not offered without their image: then only `jail: none` runs, and a person is told why',
    async () => {
      const tier = await openTier('runc', { image: 'flowops/none:here' });
      const refused = await tier.run('return { o: 1 };');
      expect(refused.outcome).toMatchObject({
        status: 'FAILED',
        code: 'SANDBOX_UNAVAILABLE',
        message: expect.stringMatching(
          /image flowops\/none:here is not there.*npm run image -- worker.*SANDBOX_WORKER_IMAGE/,
        ),
      });
      const bare = await tier.run('return { o: 1 };', { jail: 'none' });
      expect([codeOf(bare), bare.figures.jail]).toEqual(['COMPLETED', 'none']);
    },
    SLOW_MS,
  );

  it(
    'refuses a step that its container would not live for',
    async () => {
      const tier = await openTier('runc');
      const end = await tier.run('return { o: 1 };', { limits: { wallMs: 86_400_000 } });
      expect(end.outcome).toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        message: expect.stringContaining('no worker container lives that long'),
      });
    },
    SLOW_MS,
  );
});
