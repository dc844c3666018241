/**
 * STOP of a run in whatever state it is: not begun, its bundle on the way, its container being made, waiting for another
 * try, paused, failing, larger than one commit, between two owners. STOPPED is told, last and once, and nothing of the
 * run runs after it (G5): plugins that pulse to a server of the test show it from outside.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it, type TestContext } from 'vitest';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { type HeldPlugins, servePlugins } from '../support/held-plugins.ts';
import { listenForPulses, type Pulses } from '../support/pulses.ts';
import { untilShared } from '../support/service-partitions.ts';
import { buildSources, PLUGIN_SOURCES } from '../support/service-plugins.ts';
import type { FlowopsProcess } from '../support/service-process.ts';
import { CAN_SEE_PROCESSES, descendantsOf, untilGone } from '../support/service-process-tree.ts';
import { expectTrustworthy, type Run, storyOf } from '../support/service-topics.ts';
import { NEIGHBOUR_STORY, neighbourSteps, stepOf, World } from '../support/service-world.ts';
import { untilStored } from '../support/stored-steps.ts';

const PARTITIONS = 4;
/** More than one commit cancels (500), more than two. */
const MANY_STEPS = 1_100;
/** Between the guest's clock and the engine's, which are this machine's, as the engine estimates it. */
const CLOCK_MARGIN_MS = 50;
/** What would have gone on after a STOP has pulsed again by then. */
const PULSES_WAITED = 5;
/** Shorter than the default, so that the tests in which it has to pass are. */
const LEASE_MS = '5000';

const folder = scratchFolder();
let pulses: Pulses;
let plugins: HeldPlugins;
let redis: FreshRedis;
let world: World;

beforeAll(async () => {
  pulses = await listenForPulses();
  const fixture = (name: string) => join(PLUGIN_SOURCES, `${name}.ts`);
  const { nap, never, stoppable, throws, pulse } = await buildSources({
    ...{ nap: fixture('nap'), never: fixture('never'), stoppable: fixture('stoppable'), throws: fixture('throws') },
    pulse: pulses.writePlugin(folder),
  });
  plugins = await servePlugins({
    ...{ 'test.nap': nap, 'test.slow': nap, 'boxed.nap': nap },
    ...{
      'test.never': never,
      'test.stoppable': stoppable,
      'test.throws': throws,
      'test.pulse': pulse,
      'test.pulse-again': pulse,
    },
  });
  ({ world, redis } = await openWorld());
});

afterAll(async () => {
  await world.close();
  await Promise.all([plugins.close(), pulses.close(), redis.release()]);
  removeFolder(folder);
});

async function openWorld(): Promise<{ world: World; redis: FreshRedis }> {
  const policy = `version: 1
rules:
  - match: { id: boxed.nap }
    tier: container
  - match: { plugin: "*", unsigned: true }
    tier: isolate
    grants: { net: ["${pulses.grant}"] }
    limits: { memoryMb: 64, wallMs: 120000, cpuMs: 60000, hostCalls: 20000 }
    concurrent: 8
`;
  const opened = await freshRedis(inject('redisUrl'));
  const places = { brokers: inject('kafkaBrokers'), redisUrl: opened.url, pluginService: plugins.address };
  const env = { DOCKER_HOST: `unix://${join(folder, 'no-docker.sock')}`, SANDBOX_LEASE_MS: LEASE_MS };
  return { world: new World({ ...places, policy, env }), redis: opened };
}

/** A world whose engines the test may kill. */
async function ownWorld({ onTestFinished }: TestContext): Promise<World> {
  const own = await openWorld();
  onTestFinished(async () => {
    await own.world.close();
    await own.redis.release();
  });
  await own.world.startEngine();
  return own.world;
}

/** Two engines, each with a home and hosts of its own, and a run that pulses on a partition of the first. */
async function betweenTwo(
  context: TestContext,
): Promise<{ own: World; first: FlowopsProcess; second: FlowopsProcess; run: Run }> {
  const own = await ownWorld(context);
  const first = own.engine;
  const second = await own.startEngine({ FLOWOPS_HOME: join(own.home, '..', 'second-home') });
  const [ofFirst] = await untilShared([first, second], PARTITIONS);
  const run = { flowId: 'handed-over', runId: randomUUID() };
  const how = ofFirst?.[0] === undefined ? {} : { partition: ofFirst[0] };
  await own.topics.startAs(run, [stepOf('only', 'test.pulse'), stepOf('later', 'test.never')], {}, how);
  await untilPulses(run, 1);
  return { own, first, second, run };
}

function untilPulses(run: Run, count: number): Promise<unknown> {
  return pulses.all.until(`${count} pulses of ${run.flowId}`, () =>
    pulses.of(run).length >= count ? true : undefined,
  );
}

/** The run was told as STOPPED, last and once, and nothing of it ran after that. */
async function expectStopped(run: Run, from: World): Promise<void> {
  const end = await from.topics.end(run);
  expect(end).toMatchObject({ status: 'STOPPED', error: null });
  // As long as another run needs to pulse that often, one that went on would have pulsed, too.
  const clock = await from.topics.start('clock', [stepOf('only', 'test.pulse')]);
  await untilPulses(clock, PULSES_WAITED);
  await from.topics.command('EXECUTION_STOP', clock);
  await from.topics.end(clock);
  const stoppedMs = Date.parse(end.timestamp);
  expect(pulses.of(run).filter(({ sentMs }) => sentMs > stoppedMs + CLOCK_MARGIN_MS)).toEqual([]);
  expectTrustworthy(from.topics.eventsOf(run));
}

describe('STOP of a run', () => {
  beforeAll(() => world.startEngine());

  describe.concurrent('on one engine', () => {
    it('whose bundle is still on its way, so that it has not begun, is final at once', async () => {
      plugins.hold('test.slow');
      const run = await world.topics.start('queued', [stepOf('only', 'test.slow')]);
      await plugins.asked.until('the bundle to be asked for', (asked) => asked.includes('test.slow') || undefined);
      await world.topics.command('EXECUTION_STOP', run);
      expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
      expect(await world.topics.outcome(run, 'START')).toMatchObject({ outcome: 'ACCEPTED' });
      expect(await world.topics.outcome(run, 'STOP')).toMatchObject({ outcome: 'ACCEPTED' });
      plugins.release('test.slow');
      // The bundle is there now, and serves another run; this one stays as it was.
      const other = await world.topics.start('other', [stepOf('only', 'test.slow')]);
      expect(await world.topics.end(other)).toMatchObject({ status: 'COMPLETED' });
      expect(storyOf(world.topics.eventsOf(run))).toEqual(['STOPPED']);
    });

    it('with a step that waits for its next attempt cancels it there', async () => {
      const run = await world.topics.start('waiting', [
        stepOf('first', 'boxed.nap', { text: 'a' }),
        stepOf('second', 'test.nap', { text: 'first.text' }),
      ]);
      const { attempt } = await untilStored(redis, run, 'first', ({ status, dueMs = 0 }) => {
        return status === 'WAITING' && dueMs - Date.now() > 500;
      });
      await world.topics.command('EXECUTION_STOP', run);
      expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      const tries = Array.from({ length: attempt }, () => 'first RUNNING');
      expect(storyOf(events)).toEqual(['RUNNING', ...tries, 'first CANCELLED', 'second CANCELLED', 'STOPPED']);
    });

    it('with more steps than one commit cancels cancels each of them once', async () => {
      const waiting = Array.from({ length: MANY_STEPS }, (_, index) =>
        stepOf(`s${index}`, 'test.nap', { text: 'first.end' }),
      );
      const run = await world.topics.start('many', [stepOf('first', 'test.stoppable'), ...waiting]);
      await world.topics.step(run, 'first', 'RUNNING');
      await world.topics.command('EXECUTION_STOP', run);
      expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      const cancelled = events.filter(({ status }) => status === 'CANCELLED');
      expect(cancelled).toHaveLength(MANY_STEPS + 1);
      expect(new Set(storyOf(cancelled)).size).toBe(MANY_STEPS + 1);
    });

    it('that is paused ends it as STOPPED', async () => {
      const run = await world.topics.start('paused', [stepOf('only', 'test.pulse')]);
      await untilPulses(run, 1);
      await world.topics.command('EXECUTION_PAUSE', run);
      await world.topics.command('EXECUTION_STOP', run);
      await expectStopped(run, world);
    });

    it('that is failing ends it as STOPPED, unless it came too late', async () => {
      // While the step that never ends is given its time to end, the run is on its way to FAILED.
      const steps = [stepOf('unwilling', 'test.never'), stepOf('throws', 'test.throws')];
      const run = await world.topics.start('failing', steps);
      await world.topics.step(run, 'throws', 'FAILED');
      await world.topics.command('EXECUTION_STOP', run);
      const { outcome } = await world.topics.outcome(run, 'STOP');
      const { status } = await world.topics.end(run);
      expectTrustworthy(world.topics.eventsOf(run));
      expect(['ACCEPTED STOPPED', 'REJECTED FAILED']).toContain(`${outcome} ${status}`);
    });

    it('leaves the other runs alone', async () => {
      const [run, neighbour] = await Promise.all([
        world.topics.start('stopped', [stepOf('only', 'test.pulse')]),
        world.topics.start('neighbour', neighbourSteps(300)),
      ]);
      await untilPulses(run, 1);
      await world.topics.command('EXECUTION_STOP', run);
      await expectStopped(run, world);
      expect(await world.topics.end(neighbour)).toMatchObject({ status: 'COMPLETED' });
      expect(storyOf(world.topics.eventsOf(neighbour))).toEqual(NEIGHBOUR_STORY);
    });
  });
});

describe.concurrent('STOP of a run whose engine dies', () => {
  it('is taken by its next life, which tells STOPPED when nothing of the last one runs', async (context) => {
    const own = await ownWorld(context);
    const run = await own.topics.start('restarted', [stepOf('only', 'test.pulse'), stepOf('later', 'test.never')]);
    await untilPulses(run, 1);
    await own.engine.kill9();
    await own.topics.command('EXECUTION_STOP', run);
    await own.startEngine();
    await expectStopped(run, own);
    const events = own.topics.eventsOf(run);
    expect(storyOf(events).filter((line) => line.endsWith('CANCELLED'))).toHaveLength(2);
  });

  it('while the bundle of its step has to be fetched again, starts nothing', async (context) => {
    const own = await ownWorld(context);
    const run = await own.topics.start('fetched-again', [stepOf('only', 'test.pulse-again')]);
    await untilPulses(run, 1);
    await own.engine.powerCut();
    rmSync(join(own.home, 'cache'), { recursive: true });
    plugins.hold('test.pulse-again');
    const before = plugins.asked.items.length;
    const pulsesBefore = pulses.of(run).length;
    try {
      await own.startEngine();
      await plugins.asked.until('the bundle to be asked for again', (asked) =>
        asked.slice(before).includes('test.pulse-again') ? true : undefined,
      );
      await own.topics.command('EXECUTION_STOP', run);
      expect(await own.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
    } finally {
      plugins.release('test.pulse-again');
    }
    await expectStopped(run, own);
    expect(pulses.of(run)).toHaveLength(pulsesBefore);
  });

  it('is taken by another engine, which cannot ask the hosts of the dead one and still tells STOPPED', async (context) => {
    const { own, first, run } = await betweenTwo(context);
    const started = descendantsOf(first.pid);
    await first.kill9();
    await own.topics.command('EXECUTION_STOP', run);
    await expectStopped(run, own);
    await untilGone(started);
  });
});

describe('STOP of a run between two owners', () => {
  it.runIf(CAN_SEE_PROCESSES)(
    'of which the first sleeps: STOPPED is told by the second when the first can run nothing, and it wakes to nothing',
    { meta: { skipReason: 'needs the process table of Linux' } },
    async (context) => {
      const { own, first, run } = await betweenTwo(context);
      // The engine sleeps; the host it started does not, and has the run's plugin pulse on.
      first.signal('SIGSTOP');
      try {
        await untilPulses(run, pulses.of(run).length + 1);
        await own.topics.command('EXECUTION_STOP', run);
        await expectStopped(run, own);
      } finally {
        first.signal('SIGCONT');
      }
      // Awake, it takes part in the group again, and changes nothing of the run.
      await first.stderr.until(
        'the first engine to work again',
        (lines) => lines.some((line) => line.includes('command partitions given up')) || undefined,
      );
      const neighbour = await own.topics.start('neighbour', neighbourSteps());
      await own.topics.end(neighbour);
      await expectStopped(run, own);
      expect(
        own.topics.outcomes.items.filter(({ runId, command }) => runId === run.runId && command === 'STOP'),
      ).toMatchObject([{ outcome: 'ACCEPTED' }]);
    },
  );

  it('of which the first is told to end in that moment is told once, by whoever has it', async (context) => {
    const { own, first, run } = await betweenTwo(context);
    first.signal('SIGTERM');
    await own.topics.command('EXECUTION_STOP', run);
    await expectStopped(run, own);
    expect(await first.exited).toEqual({ code: 0, signal: null });
    const story = storyOf(own.topics.eventsOf(run));
    expect(story.filter((line) => line.endsWith('CANCELLED'))).toHaveLength(2);
  });
});
