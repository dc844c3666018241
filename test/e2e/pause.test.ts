/**
 * PAUSE of a running service: clocks stand still, `quiescent` is told once when nothing runs any more, and a pause
 * outlives the engine that took it.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it, type TestContext } from 'vitest';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { buildFixtures, fillRegistry, type Registry, startRegistry } from '../support/service-plugins.ts';
import { expectTrustworthy, type Run, storyOf } from '../support/service-topics.ts';
import { neighbourSteps, stepOf, World } from '../support/service-world.ts';
import { storedSteps, untilStored } from '../support/stored-steps.ts';

/** `boxed.*` needs containers, which nobody can have where no Docker answers: its steps try again and again. */
const POLICY = `version: 1
rules:
  - match: { id: boxed.nap }
    tier: container
  - match: { plugin: "*", unsigned: true }
    tier: isolate
    concurrent: 8
`;
/** A wait long enough to be paused in. */
const LONG_WAIT_MS = 1000;

const folder = scratchFolder();
let registry: Registry;
let redis: FreshRedis;
let world: World;

beforeAll(async () => {
  const { nap, never, stoppable } = await buildFixtures(['nap', 'never', 'stoppable']);
  fillRegistry(folder, { 'test.nap': nap, 'boxed.nap': nap, 'test.never': never, 'test.stoppable': stoppable });
  registry = await startRegistry(folder);
  ({ world, redis } = await openWorld());
});

afterAll(async () => {
  await world.close();
  await registry.process.powerCut();
  await redis.release();
  removeFolder(folder);
});

async function openWorld(): Promise<{ world: World; redis: FreshRedis }> {
  const opened = await freshRedis(inject('redisUrl'));
  const places = { brokers: inject('kafkaBrokers'), redisUrl: opened.url, pluginService: registry.address };
  const env = { DOCKER_HOST: `unix://${join(folder, 'no-docker.sock')}` };
  const made = new World({ ...places, policy: POLICY, env });
  await made.startEngine();
  return { world: made, redis: opened };
}

/** A world whose engine the test may kill. */
async function ownWorld({ onTestFinished }: TestContext): Promise<{ world: World; redis: FreshRedis }> {
  const own = await openWorld();
  onTestFinished(async () => {
    await own.world.close();
    await own.redis.release();
  });
  return own;
}

/** The outcomes of PAUSE, `quiet` for the one that says that nothing runs any more. A copy sent again carries the time it had. */
function pausesOf(run: Run, from: World): readonly string[] {
  const own = from.topics.outcomes.items.filter(({ runId, command }) => runId === run.runId && command === 'PAUSE');
  const firstCopies = new Map(own.map((outcome) => [`${outcome.timestamp} ${outcome.quiescent}`, outcome]));
  return [...firstCopies.values()].map(({ outcome, quiescent }) => (quiescent === true ? 'quiet' : outcome));
}

/** How often a pause was told as quiet; a PAUSE that is read again by the next engine is answered again. */
function timesQuiet(run: Run, from: World): number {
  return pausesOf(run, from).filter((line) => line === 'quiet').length;
}

function untilQuiet(run: Run, from: World): Promise<true> {
  return from.topics.outcomes.until(`the pause of ${run.flowId} to be quiet`, () =>
    pausesOf(run, from).includes('quiet') ? true : undefined,
  );
}

/** As an event: those and outcomes are two topics, and neither waits for the other. */
function untilPaused(run: Run, from: World): Promise<true> {
  return from.topics.events.until(`${run.flowId} to be told as paused`, () =>
    storyOf(from.topics.eventsOf(run)).includes('PAUSED') ? true : undefined,
  );
}

/** When an event was told, epoch ms of the store's clock. */
function toldAt(run: Run, line: string, from: World): number {
  const events = from.topics.eventsOf(run);
  const at = storyOf(events).lastIndexOf(line);
  return Date.parse(events[at]?.timestamp ?? '');
}

describe.concurrent('a pause', () => {
  it('keeps what is left of a wait for the next attempt, and the wait goes on with that after RESUME', async () => {
    const run = await world.topics.start('waits', [stepOf('only', 'boxed.nap')]);
    // The later waits are long: one of them is caught well before its end.
    await untilStored(redis, run, 'only', ({ status, dueMs = 0 }) => {
      return status === 'WAITING' && dueMs - Date.now() > LONG_WAIT_MS;
    });
    await world.topics.command('EXECUTION_PAUSE', run);
    await untilQuiet(run, world);
    expect(pausesOf(run, world)).toEqual(['ACCEPTED', 'quiet']);
    const paused = (await storedSteps(redis, run)).get('only');
    const leftMs = paused?.dueMs ?? 0;
    expect(paused).toMatchObject({ status: 'WAITING' });
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThan(60_000);
    await untilPaused(run, world);
    const attempts = world.topics.eventsOf(run).length;

    // As long as the wait would have lasted, something else goes on; nothing of this run does.
    const neighbour = await world.topics.start('neighbour', neighbourSteps(Math.ceil(leftMs)));
    await world.topics.end(neighbour);
    expect(world.topics.eventsOf(run)).toHaveLength(attempts);
    expect((await storedSteps(redis, run)).get('only')).toEqual(paused);

    await world.topics.command('EXECUTION_RESUME', run);
    const { attempt = 0 } = paused ?? {};
    await world.topics.events.until('the next attempt', (events) =>
      events.find((event) => event.runId === run.runId && 'attempt' in event && (event.attempt ?? 0) > attempt),
    );
    const waitedMs = toldAt(run, 'only RUNNING', world) - toldAt(run, 'RUNNING', world);
    expect(waitedMs).toBeGreaterThanOrEqual(leftMs);
    await world.topics.command('EXECUTION_STOP', run);
    await world.topics.end(run);
    expectTrustworthy(world.topics.eventsOf(run));
  });

  it('is quiet at once when nothing runs, and again when it was resumed and paused once more', async () => {
    const run = await world.topics.start('quiet', [
      stepOf('first', 'test.nap', { text: 'a' }),
      stepOf('second', 'boxed.nap', { text: 'first.text' }),
    ]);
    await untilStored(redis, run, 'second', ({ status, faults = 0 }) => status === 'WAITING' && faults >= 2);
    await world.topics.command('EXECUTION_PAUSE', run);
    await untilQuiet(run, world);
    await world.topics.command('EXECUTION_RESUME', run);
    await world.topics.outcome(run, 'RESUME');
    await world.topics.command('EXECUTION_PAUSE', run);
    await world.topics.outcomes.until('the second pause to be quiet', () =>
      pausesOf(run, world).length === 4 ? true : undefined,
    );
    expect(pausesOf(run, world)).toEqual(['ACCEPTED', 'quiet', 'ACCEPTED', 'quiet']);
    await world.topics.command('EXECUTION_STOP', run);
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
  });

  it('is quiet only when the last of several running steps has ended', async () => {
    const run = await world.topics.start('several', [
      stepOf('short', 'test.nap', { ms: '100', text: 'a' }),
      stepOf('long', 'test.nap', { ms: '4000', text: 'a' }),
      // Something is left to do when both have ended, also when the pause came late: else the run would end, not be quiet.
      stepOf('later', 'test.nap', { text: '${short.text} ${long.text}' }),
    ]);
    await world.topics.step(run, 'long', 'RUNNING');
    await world.topics.command('EXECUTION_PAUSE', run);
    await world.topics.outcome(run, 'PAUSE');
    await world.topics.step(run, 'short', 'COMPLETED');
    await untilQuiet(run, world);
    expect(pausesOf(run, world)).toEqual(['ACCEPTED', 'quiet']);
    await world.topics.step(run, 'long', 'COMPLETED');
    const story = storyOf(world.topics.eventsOf(run));
    expect(story.indexOf('long COMPLETED')).toBeGreaterThan(story.indexOf('PAUSED'));
    await world.topics.command('EXECUTION_RESUME', run);
    expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED' });
    expectTrustworthy(world.topics.eventsOf(run));
  });

  it('that was resumed before it became quiet is never told as quiet', async () => {
    const run = await world.topics.start('resumed', [
      stepOf('first', 'test.nap', { ms: '4000', text: 'a' }),
      stepOf('second', 'test.nap', { text: 'first.text' }),
    ]);
    await world.topics.step(run, 'first', 'RUNNING');
    await world.topics.command('EXECUTION_PAUSE', run);
    await world.topics.command('EXECUTION_RESUME', run);
    await world.topics.end(run);
    expect(pausesOf(run, world)).toEqual(['ACCEPTED']);
    expect(storyOf(world.topics.eventsOf(run))).toEqual([
      ...['RUNNING', 'first RUNNING', 'PAUSED', 'RUNNING', 'first COMPLETED'],
      ...['second RUNNING', 'second COMPLETED', 'COMPLETED'],
    ]);
  });

  it('ends with the STOP of the run, whose running step is told and cancelled', async () => {
    const run = await world.topics.start('stopped', [stepOf('only', 'test.stoppable')]);
    await world.topics.step(run, 'only', 'RUNNING');
    await world.topics.command('EXECUTION_PAUSE', run);
    await world.topics.outcome(run, 'PAUSE');
    await world.topics.command('EXECUTION_STOP', run);
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
    expect(storyOf(world.topics.eventsOf(run))).toEqual([
      ...['RUNNING', 'only RUNNING', 'PAUSED', 'only CANCELLED', 'STOPPED'],
    ]);
    expect(pausesOf(run, world)).toEqual(['ACCEPTED']);
  });
});

describe.concurrent('a pause of an engine that dies', () => {
  it('before it was quiet is still one for the next engine, which tells when it is quiet and starts nothing', async (context) => {
    const { world: own } = await ownWorld(context);
    const run = await own.topics.start('outlives', [
      stepOf('first', 'test.nap', { ms: '200', text: 'a' }),
      stepOf('second', 'test.never', {}),
      stepOf('third', 'test.nap', { text: 'first.text' }),
    ]);
    await own.topics.step(run, 'first', 'COMPLETED');
    await own.topics.step(run, 'third', 'COMPLETED');
    await own.topics.command('EXECUTION_PAUSE', run);
    await own.topics.outcome(run, 'PAUSE');
    await own.engine.powerCut();
    await own.startEngine();
    // What ran is gone with its engine; its next attempt waits for RESUME.
    await untilQuiet(run, own);
    expect(timesQuiet(run, own)).toBe(1);
    await untilPaused(run, own);
    expect(own.topics.eventsOf(run).at(-1)).toMatchObject({ status: 'PAUSED' });

    await own.topics.command('EXECUTION_RESUME', run);
    await own.topics.events.until('the second attempt', (events) =>
      events.find((event) => event.runId === run.runId && 'attempt' in event && event.attempt === 2),
    );
    await own.topics.command('EXECUTION_STOP', run);
    expect(await own.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
    const events = own.topics.eventsOf(run);
    expectTrustworthy(events);
    expect(storyOf(events).slice(-5)).toEqual(['PAUSED', 'RUNNING', 'second RUNNING', 'second CANCELLED', 'STOPPED']);
  });

  it('after it was quiet is not told as quiet again, and what was left of a wait is kept', async (context) => {
    const { world: own, redis: ownRedis } = await ownWorld(context);
    const run = await own.topics.start('kept', [stepOf('only', 'boxed.nap')]);
    await untilStored(ownRedis, run, 'only', ({ status, dueMs = 0 }) => {
      return status === 'WAITING' && dueMs - Date.now() > LONG_WAIT_MS;
    });
    await own.topics.command('EXECUTION_PAUSE', run);
    await untilQuiet(run, own);
    const paused = await storedSteps(ownRedis, run);
    await own.engine.powerCut();
    await own.startEngine();
    const neighbour = await own.topics.start('neighbour', neighbourSteps());
    await own.topics.end(neighbour);
    expect(await storedSteps(ownRedis, run)).toEqual(paused);
    expect(timesQuiet(run, own)).toBe(1);

    await own.topics.command('EXECUTION_RESUME', run);
    const { attempt = 0, dueMs: leftMs = 0 } = paused.get('only') ?? {};
    await own.topics.events.until('the next attempt', (events) =>
      events.find((event) => event.runId === run.runId && 'attempt' in event && (event.attempt ?? 0) > attempt),
    );
    expect(toldAt(run, 'only RUNNING', own) - toldAt(run, 'RUNNING', own)).toBeGreaterThanOrEqual(leftMs);
    await own.topics.command('EXECUTION_STOP', run);
    await own.topics.end(run);
    expectTrustworthy(own.topics.eventsOf(run));
  });
});
