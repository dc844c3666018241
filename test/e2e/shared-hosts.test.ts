/** G4, G9: engines that share sandbox hosts, real ones all: an engine dies or hands over, a host dies, in the middle of a step. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it, type TestContext } from 'vitest';
import { freshRedis } from '../services/redis.ts';
import { ServedHost } from '../support/served-host.ts';
import { type FixtureRegistry, serveFixtures } from '../support/service-plugins.ts';
import type { FlowopsProcess } from '../support/service-process.ts';
import { expectTrustworthy, type Run } from '../support/service-topics.ts';
import { stepLinesOf, stepOf, World } from '../support/service-world.ts';

/** Longer than a group needs to notice on a busy machine that a member is gone. */
const LONG_NAP_MS = '25000';
const LEASE = { SANDBOX_LEASE_MS: '60000' };

let registry: FixtureRegistry;

beforeAll(async () => {
  registry = await serveFixtures(['nap']);
});

afterAll(async () => {
  await registry.close();
});

interface Setting {
  readonly world: World;
  readonly hosts: readonly ServedHost[];
}

async function openWorld(
  { onTestFinished }: TestContext,
  hostCount: number,
  env: Readonly<Record<string, string>> = LEASE,
): Promise<Setting> {
  const hosts = Array.from({ length: hostCount }, () => new ServedHost(env));
  for (const host of hosts) onTestFinished(() => host.close());
  await Promise.all(hosts.map((host) => host.start()));
  const redis = await freshRedis(inject('redisUrl'));
  const world = new World({
    ...{ brokers: inject('kafkaBrokers'), redisUrl: redis.url, pluginService: registry.address },
    env: { ...env, SANDBOX_URL: hosts.map(({ address }) => address).join(',') },
  });
  onTestFinished(async () => {
    await world.close();
    await redis.release();
  });
  return { world, hosts };
}

/** Two engines, and which of them runs the step. */
async function onOneOfTwo(world: World, run: () => Promise<Run>): Promise<{ run: Run; owner: FlowopsProcess }> {
  const engines = [await world.startEngine(), await world.startEngine({ FLOWOPS_HOME: join(world.home, 'second') })];
  const started = await run();
  const owner = await Promise.race(engines.map((engine) => saying(engine, started, 'began').then(() => engine)));
  return { run: started, owner };
}

const saying = (engine: FlowopsProcess, run: Run, msg: string) =>
  engine.stderr.until(`the plugin to say ${msg}`, (lines) => stepLinesOf(lines, run).find((line) => line.msg === msg));

/** How often the plugin began and ended, whoever heard of it. */
function timesRun(world: World, run: Run): { began: number; ended: number } {
  const lines = world.stepLines(run).map(({ msg }) => msg);
  return { began: lines.filter((msg) => msg === 'began').length, ended: lines.filter((msg) => msg === 'ended').length };
}

/** What the engine says of its connections to hosts. */
function linkLines(engine: FlowopsProcess): string {
  return engine.stderr.items.filter((line) => line.includes('a sandbox host')).join('\n');
}

const LONG = [stepOf('long', 'test.nap', { ms: LONG_NAP_MS, text: '' })];

const ENDS: readonly [string, (engine: FlowopsProcess) => unknown][] = [
  ['is killed', (engine) => engine.kill9()],
  ['is told to end and may not wait', (engine) => engine.signal('SIGTERM')],
];

describe('two engines that share a sandbox host', () => {
  for (const [how, end] of ENDS) {
    it(`keep the step that runs when its owner ${how}: the other one hears of its end`, async (context) => {
      const { world } = await openWorld(context, 1, { ...LEASE, DRAIN_MS: '0' });
      const { run, owner } = await onOneOfTwo(world, () => world.topics.start('long', LONG));
      end(owner);
      expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED' });
      expect(timesRun(world, run)).toEqual({ began: 1, ended: 1 });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      const ofStep = events.filter(({ eventType }) => eventType === 'STEP_STATUS');
      expect(ofStep).toMatchObject([
        { status: 'RUNNING', attempt: 1 },
        { status: 'COMPLETED', attempt: 1 },
      ]);
    });
  }
});

describe('an engine with two sandbox hosts', () => {
  it('runs the steps of one that vanishes again on the other, and no retry is spent', async (context) => {
    const { world, hosts } = await openWorld(context, 2, { SANDBOX_LEASE_MS: '3000' });
    await world.startEngine();
    // It is ready with the first; both have to be there for the steps to be shared out.
    await world.engine.stderr.until('both hosts to be connected', (lines) =>
      lines.filter((line) => line.includes('a sandbox host is connected')).length === hosts.length ? true : undefined,
    );
    const steps = Array.from({ length: 6 }, (_, index) => stepOf(`s${index}`, 'test.nap', { ms: '15000', text: '' }));
    const run = await world.topics.start('six', steps);
    await world.engine.stderr.until('all to have begun', () =>
      timesRun(world, run).began >= steps.length ? true : undefined,
    );
    await hosts[0]?.process.kill9();
    expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED', error: null });
    const { began, ended } = timesRun(world, run);
    expect(ended).toBe(steps.length);
    // Those of one host of two, which share them.
    expect(began - steps.length, linkLines(world.engine)).toBe(steps.length / 2);
    // No step has a retry to spend: each would have failed.
    expectTrustworthy(world.topics.eventsOf(run));
  });
});
