/**
 * The container tier as a running service has it: flows that mix tiers, STOP, a host that dies, an image that is
 * missing, and a secret that nobody may see. Real Kafka, Redis, Docker and runtimes.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { receiptSchema } from '@flowops/proto/receipt.ts';
import { APP_FILTER } from '@flowops/sandbox/container/labels.ts';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, inject, it, type TestContext } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { buildFixtures, fillRegistry, type Registry, startRegistry } from '../support/service-plugins.ts';
import { CAN_SEE_PROCESSES, descendantsOf, untilGone } from '../support/service-process-tree.ts';
import { expectTrustworthy, type Run, storyOf } from '../support/service-topics.ts';
import { stepOf, World } from '../support/service-world.ts';

const policyWith = (runtime: string): string => `version: 1
rules:
  - match: { id: isolated.nap }
    tier: isolate
  - match: { id: isolated.burglar }
    tier: isolate
  - match: { id: gvisor.nap }
    tier: container
    container: { runtime: ${runtime} }
`;
const CANARY = 'canary-4f1d0c52-never-to-be-seen';

const folder = scratchFolder();
const secrets = join(folder, 'secrets');
let service: DockerService;
let docker: Docker;
let strongest: string;
let registry: Registry;

beforeAll(async () => {
  service = await startDocker();
  docker = new Docker({ socketPath: service.host.replace(/^unix:\/\//, '') });
  // gVisor where the daemon has it; startDocker says which are there.
  strongest = service.runtimes.at(-1) ?? 'runc';
  mkdirSync(secrets);
  writeFileSync(join(secrets, 'CANARY'), CANARY);
  const { nap, never, stoppable, burglar } = await buildFixtures(['nap', 'never', 'stoppable', 'burglar']);
  const boxed = { 'boxed.nap': nap, 'boxed.never': never, 'boxed.stoppable': stoppable, 'boxed.burglar': burglar };
  mkdirSync(join(folder, 'registry'));
  fillRegistry(join(folder, 'registry'), {
    ...boxed,
    ...{ 'isolated.nap': nap, 'isolated.burglar': burglar, 'gvisor.nap': nap },
  });
  registry = await startRegistry(join(folder, 'registry'));
});

afterAll(async () => {
  await registry.process.powerCut();
  await service.stop();
  removeFolder(folder);
});

interface Story {
  readonly world: World;
  readonly redis: FreshRedis;
}

/** An engine of the test's own, and with it a sandbox host of its own. */
async function openWorld({ onTestFinished }: TestContext, env: Record<string, string> = {}): Promise<Story> {
  const redis = await freshRedis(inject('redisUrl'));
  const places = { brokers: inject('kafkaBrokers'), redisUrl: redis.url, pluginService: registry.address };
  const sandbox = { ...service.env, SECRETS_DIR: secrets, API_CANARY: CANARY };
  const world = new World({ ...places, policy: policyWith(strongest), env: { ...sandbox, ...env } });
  onTestFinished(async () => {
    await world.close();
    await redis.release();
  });
  await world.startEngine();
  return { world, redis };
}

/** Containers that serve a step of the run: named after it once it began. */
async function containersFor({ runId }: Run): Promise<readonly string[]> {
  const found = await docker.listContainers();
  return found.filter(({ Names }) => Names.some((name) => name.includes(runId))).map(({ Id }) => Id);
}

/** All that the sandbox hosts of these pids made, running or not. */
async function containersOf(pids: readonly number[]): Promise<readonly string[]> {
  const found = await docker.listContainers({ all: true, filters: { label: [APP_FILTER] } });
  return found
    .filter(({ Labels }) => pids.some((pid) => Object.values(Labels).some((value) => value.includes(` ${pid} `))))
    .map(({ Id }) => Id);
}

async function firstProcessOf(container: string): Promise<number> {
  const { State } = await docker.getContainer(container).inspect();
  return State.Pid;
}

function isAlive(pid: number): boolean {
  return pid > 0 && existsSync(`/proc/${pid}`);
}

function pidsOf(world: World): readonly number[] {
  return descendantsOf(world.engine.pid).map(({ pid }) => pid);
}

function receiptsOf(world: World, run: Run) {
  return world.topics.eventsOf(run).flatMap((event) => {
    if (event.eventType !== 'STEP_STATUS' || event.receipt === undefined) return [];
    return [[event.stepId, receiptSchema.parse(event.receipt)] as const];
  });
}

describe('a flow whose steps run in different sandboxes', () => {
  it('passes values between isolates and containers of each runtime, and each receipt says where its step ran', async (context) => {
    const { world } = await openWorld(context);
    const run = await world.topics.start('mixed', [
      stepOf('first', 'isolated.nap', { text: 'a' }),
      stepOf('second', 'boxed.nap', { text: 'first.text' }),
      stepOf('third', 'gvisor.nap', { text: 'second.text' }),
      stepOf('fourth', 'isolated.nap', { text: 'third.text' }),
    ]);
    expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED', error: null });
    expectTrustworthy(world.topics.eventsOf(run));
    const receipts = Object.fromEntries(receiptsOf(world, run));
    expect(receipts.first).toMatchObject({ tier: 'isolate', imageDigest: null });
    const boxed = { tier: 'container', jail: 'container', rule: 'defaults' };
    expect(receipts.second).toMatchObject({
      ...{ ...boxed, runtime: 'runc', imageDigest: expect.stringMatching(/^sha256:/) },
      sources: { cpuMs: 'host', peakMemoryBytes: 'host' },
    });
    expect(receipts.third).toMatchObject({ tier: 'container', runtime: strongest });
    expect(receipts.fourth).toMatchObject({ tier: 'isolate' });
  });
});

describe('STOP of a flow with steps in containers', () => {
  it('is told as STOPPED when none of them runs any more, willing or not', async (context) => {
    const { world } = await openWorld(context);
    const run = await world.topics.start('stopped', [
      stepOf('willing', 'boxed.stoppable'),
      stepOf('unwilling', 'boxed.never'),
    ]);
    await world.engine.stderr.until('both steps to run', () => world.stepLines(run).length === 2 || undefined);
    await expect.poll(() => containersFor(run), { timeout: 10_000 }).toHaveLength(2);
    const started = await Promise.all((await containersFor(run)).map(firstProcessOf));
    expect(started.every(isAlive)).toBe(true);
    await world.topics.command('EXECUTION_STOP', run);
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
    // By the kernel: Docker itself learns of an end some tens of milliseconds later.
    expect(started.filter(isAlive)).toEqual([]);
    expect(world.stepLines(run).map(({ msg }) => msg)).toContain('stop() was called');
  });

  it('ends it also while the image of its steps is missing', async (context) => {
    const { world } = await openWorld(context, { SANDBOX_IMAGE: 'flowops/no-such-image:1' });
    const run = await world.topics.start('imageless', [stepOf('only', 'boxed.nap')]);
    await world.topics.step(run, 'only', 'RUNNING');
    await world.topics.command('EXECUTION_STOP', run);
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
  });
});

describe('a service that dies with steps in containers', () => {
  it.runIf(CAN_SEE_PROCESSES)(
    'leaves no container, process or temporary file after its next start, which finishes the run',
    { meta: { skipReason: 'needs the process table of Linux' } },
    async (context) => {
      const temporary = join(folder, 'temporary');
      mkdirSync(temporary);
      // Workers have a user of their own, who must be able to reach what lies in it.
      chmodSync(folder, 0o711);
      const { world } = await openWorld(context, { TMPDIR: temporary });
      const run = await world.topics.start('killed', [
        stepOf('first', 'boxed.nap', { ms: '100', text: 'a' }),
        stepOf('second', 'boxed.nap', { ms: '4000', text: 'first.text' }),
        stepOf('beside', 'isolated.nap', { ms: '4000', text: 'a' }),
      ]);
      await world.engine.stderr.until('the steps to run', () => world.stepLines(run).length === 4 || undefined);
      const firstLife = pidsOf(world);
      expect(await containersOf(firstLife)).not.toEqual([]);
      const killed = await world.engine.powerCut();
      await untilGone(killed);
      await world.startEngine();
      expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED', error: null });
      const story = storyOf(world.topics.eventsOf(run));
      expect(story.filter((line) => line === 'first COMPLETED')).toHaveLength(1);

      const started = descendantsOf(world.engine.pid);
      const pids = [...firstLife, ...pidsOf(world)];
      world.engine.signal('SIGTERM');
      expect(await world.engine.exited).toEqual({ code: 0, signal: null });
      await untilGone(started);
      expect(await containersOf(pids)).toEqual([]);
      // The root of jails is kept for the next start, whole and under the hash of its content; nothing of a run is.
      const kept = `flowops-sandbox-${process.getuid?.()}`;
      expect(readdirSync(temporary)).toEqual([kept]);
      const inside = readdirSync(join(temporary, kept));
      expect(inside.filter((name) => !/^[a-z]+-[0-9a-f]{16,32}(?:\.json)?$/.test(name))).toEqual([]);
    },
  );
});

describe('a secret that was granted to nobody', () => {
  it('is in no event, no log line and no value of Redis after plugins searched for it in each tier', async (context) => {
    const { world, redis } = await openWorld(context);
    const inputs = { secret: 'CANARY' };
    const runs = await Promise.all([
      world.topics.start('boxed', [stepOf('search', 'boxed.burglar', inputs)]),
      world.topics.start('isolated', [stepOf('search', 'isolated.burglar', inputs)]),
    ]);
    for (const run of runs) {
      const { status } = await world.topics.end(run);
      expect(['COMPLETED', 'FAILED']).toContain(status);
      await world.engine.stderr.until('what it found', () => world.stepLines(run).find(({ msg }) => msg === 'loot'));
    }
    // What they found and tried is really there to be looked through.
    const log = world.engine.stderr.items.join('\n');
    for (const run of runs) expect(JSON.stringify(world.stepLines(run))).toContain('loot');
    expect(log).toContain('169.254');
    expect(log).not.toContain(CANARY);
    const events = JSON.stringify([world.topics.events.items, world.topics.outcomes.items]);
    expect(events).not.toContain(CANARY);
    const dump = await everythingIn(redis);
    for (const run of runs) expect(dump).toContain(run.runId);
    expect(dump).toContain('refused');
    expect(dump).not.toContain(CANARY);
  });
});

/** Every key and value of a database, as Redis itself writes them down. */
async function everythingIn(redis: FreshRedis): Promise<string> {
  const keys: unknown = JSON.parse(await redis.cli('KEYS', '*'));
  if (!Array.isArray(keys)) throw new Error('KEYS gives a list');
  const values = keys.map(async (key) => {
    const type = await redis.cli('TYPE', String(key));
    const read: Record<string, readonly string[]> = {
      string: ['GET', String(key)],
      hash: ['HGETALL', String(key)],
      list: ['LRANGE', String(key), '0', '-1'],
      set: ['SMEMBERS', String(key)],
      zset: ['ZRANGE', String(key), '0', '-1', 'WITHSCORES'],
      stream: ['XRANGE', String(key), '-', '+'],
    };
    const [command = 'DUMP', ...args] = read[type] ?? ['DUMP', String(key)];
    return `${String(key)} ${await redis.cli(command, ...args)}`;
  });
  return (await Promise.all(values)).join('\n');
}
