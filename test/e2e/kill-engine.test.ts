/** G1, G3, G4: an engine that dies or is told to end in the middle of a flow, and the next one, which finishes it. */
import type { Json } from '@flowops/proto/json.ts';
import { afterAll, beforeAll, describe, expect, inject, it, type TestContext } from 'vitest';
import { z } from 'zod';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { type FixtureRegistry, serveFixtures } from '../support/service-plugins.ts';
import { CAN_SEE_PROCESSES, descendantsOf, untilGone } from '../support/service-process-tree.ts';
import { expectTrustworthy, type Run, storyOf } from '../support/service-topics.ts';
import { neighbourSteps, stepLinesOf, stepOf, World } from '../support/service-world.ts';

const NAP_MS = '100';
/** Far enough from both ends that steps before, in flight and after are all there. */
const MIDDLE_STEPS_DONE = 8;

/** 20 steps: a chain of 8, then 4 beside each other, then a chain of 8. */
const STEP_IDS = Array.from({ length: 20 }, (_, index) => `s${String(index + 1).padStart(2, '0')}`);
const TWENTY_STEPS: Json = STEP_IDS.map((stepId, index) => {
  const before = index >= 8 && index < 12 ? 's08' : STEP_IDS[index - 1];
  const inputs = { ms: NAP_MS, text: before === undefined ? '' : `${before}.text` };
  if (index !== 12) return stepOf(stepId, 'test.nap', inputs);
  return stepOf(stepId, 'test.nap', { ms: NAP_MS, text: '${s09.text}${s10.text}${s11.text}${s12.text}' });
});

const stepRecordSchema = z.object({ status: z.string() });

let registry: FixtureRegistry;

beforeAll(async () => {
  registry = await serveFixtures(['nap']);
});

afterAll(async () => {
  await registry.close();
});

interface Story {
  readonly world: World;
  readonly redis: FreshRedis;
  readonly run: Run;
}

/** An engine of the test's own. */
async function openWorld({ onTestFinished }: TestContext, env = {}): Promise<Pick<Story, 'world' | 'redis'>> {
  const redis = await freshRedis(inject('redisUrl'));
  const places = { brokers: inject('kafkaBrokers'), redisUrl: redis.url, pluginService: registry.address };
  const world = new World({ ...places, env });
  onTestFinished(async () => {
    await world.close();
    await redis.release();
  });
  await world.startEngine();
  return { world, redis };
}

/** A flow whose middle has been reached, on an engine of its own. */
async function inTheMiddle(context: TestContext): Promise<Story> {
  const { world, redis } = await openWorld(context);
  const run = await world.topics.start('twenty', TWENTY_STEPS);
  await world.topics.events.until('the middle of the flow', (events) => {
    const done = events.filter(({ runId, status }) => runId === run.runId && status === 'COMPLETED');
    return done.length >= MIDDLE_STEPS_DONE ? true : undefined;
  });
  return { world, redis, run };
}

/** The steps that the store holds as completed. */
async function completedSteps({ redis, run: { flowId, runId } }: Story): Promise<readonly string[]> {
  const flat = z.array(z.string()).parse(JSON.parse(await redis.cli('HGETALL', `flow:{${flowId}:${runId}}:steps`)));
  const completed: string[] = [];
  for (let index = 0; index < flat.length; index += 2) {
    const record = stepRecordSchema.parse(JSON.parse(flat[index + 1] ?? ''));
    if (record.status === 'COMPLETED') completed.push(flat[index] ?? '');
  }
  return completed;
}

/** The run ended well, its events are as if nothing had happened, and what was completed before ran only before. */
function expectFinishedOnce({ world, run }: Story, completedBefore: readonly string[]): void {
  const events = world.topics.eventsOf(run);
  expectTrustworthy(events);
  const ofFlow = events.filter(({ eventType }) => eventType === 'FLOW_STATUS');
  expect(ofFlow).toMatchObject([{ status: 'RUNNING' }, { status: 'COMPLETED', error: null }]);
  const [firstLife, ...laterLives] = world.lives;
  const linesBefore = stepLinesOf(firstLife?.stderr.items ?? [], run);
  const linesAfter = laterLives.flatMap(({ stderr }) => stepLinesOf(stderr.items, run));
  expect(linesBefore.filter(({ msg }) => msg === 'ended').length).toBeGreaterThanOrEqual(MIDDLE_STEPS_DONE - 1);
  for (const stepId of STEP_IDS) {
    const ofStep = events.filter((event) => event.eventType === 'STEP_STATUS' && event.stepId === stepId);
    expect(ofStep.filter(({ status }) => status === 'COMPLETED')).toHaveLength(1);
    expect(ofStep.map(({ status }) => status)).not.toContain('FAILED');
  }
  for (const stepId of completedBefore) {
    const ofStep = events.filter((event) => event.eventType === 'STEP_STATUS' && event.stepId === stepId);
    expect(ofStep).toMatchObject([
      { status: 'RUNNING', attempt: 1 },
      { status: 'COMPLETED', attempt: 1 },
    ]);
    // A killed engine may take the last line with it; it never said anything twice.
    const said = linesBefore.filter((line) => line.stepId === stepId).map(({ msg }) => msg);
    expect(said).toEqual(['began', 'ended'].slice(0, said.length));
    expect(linesAfter.filter((line) => line.stepId === stepId)).toEqual([]);
  }
}

describe.concurrent('an engine that is killed in the middle of a flow of 20 steps', () => {
  it.runIf(CAN_SEE_PROCESSES)(
    'leaves no worker behind, and the next one finishes the flow without running a completed step again',
    { meta: { skipReason: 'needs the process table of Linux' } },
    async (context) => {
      const story = await inTheMiddle(context);
      const { world, run } = story;
      const started = descendantsOf(world.engine.pid);
      expect(started.length).toBeGreaterThan(1);
      await world.engine.kill9();
      await untilGone(started);
      const completedBefore = await completedSteps(story);
      expect(completedBefore.length).toBeGreaterThanOrEqual(MIDDLE_STEPS_DONE);
      expect(completedBefore.length).toBeLessThan(STEP_IDS.length);

      await world.startEngine();
      await world.topics.end(run);
      expectFinishedOnce(story, completedBefore);
    },
  );

  it.runIf(CAN_SEE_PROCESSES)(
    'is finished by the next one also when everything it had started died in the same moment',
    { meta: { skipReason: 'needs the process table of Linux' } },
    async (context) => {
      const story = await inTheMiddle(context);
      const { world, run } = story;
      const killed = await world.engine.powerCut();
      expect(killed.length).toBeGreaterThan(1);
      const completedBefore = await completedSteps(story);

      await world.startEngine();
      await world.topics.end(run);
      expectFinishedOnce(story, completedBefore);
    },
  );
});

describe.concurrent('an engine that is killed while commands pour in', () => {
  it('loses none of them, and none runs twice as another run', async (context) => {
    const { world } = await openWorld(context);
    const starts = Array.from({ length: 40 }, (_, index) => world.topics.start(`pour-${index}`, neighbourSteps(20)));
    const runs = await Promise.all(starts);
    await world.topics.events.until('the first run to end', (events) => {
      return events.some((event) => event.eventType === 'FLOW_STATUS' && event.status === 'COMPLETED') || undefined;
    });
    await world.engine.powerCut();
    await world.startEngine();
    for (const run of runs) {
      expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED' });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      const steps = events.filter(({ eventType, status }) => eventType === 'STEP_STATUS' && status === 'COMPLETED');
      expect(steps).toHaveLength(3);
      expect(await world.topics.outcome(run, 'START')).toMatchObject({ outcome: 'ACCEPTED' });
    }
  });
});

describe.concurrent('an engine that is told to end in the middle of a flow of 20 steps', () => {
  it('lets running steps finish, ends with 0, and the next one goes on where it stood', async (context) => {
    const story = await inTheMiddle(context);
    const { world, run } = story;
    const started = descendantsOf(world.engine.pid);
    world.engine.signal('SIGTERM');
    expect(await world.engine.exited).toEqual({ code: 0, signal: null });
    await untilGone(started);
    const completedBefore = await completedSteps(story);
    expect(completedBefore.length).toBeLessThan(STEP_IDS.length);
    const told = world.topics.eventsOf(run).map(({ status }) => status);
    expect(told).not.toContain('PAUSED');
    expect(told).not.toContain('FAILED');

    await world.startEngine();
    await world.topics.end(run);
    expectFinishedOnce(story, completedBefore);
    // Nothing was in flight when it ended, so nothing had to run twice.
    const events = world.topics.eventsOf(run);
    expect(events).toHaveLength(2 + 2 * STEP_IDS.length);
  });

  it('leaves a step that does not end within DRAIN_MS to the next one, which runs it again', async (context) => {
    const { world } = await openWorld(context, { DRAIN_MS: '200' });
    const run = await world.topics.start('long', [stepOf('only', 'test.nap', { ms: '4000', text: 'a' })]);
    await world.engine.stderr.until('the step to run', () => world.stepLines(run).at(0));
    const started = descendantsOf(world.engine.pid);
    world.engine.signal('SIGTERM');
    expect(await world.engine.exited).toEqual({ code: 0, signal: null });
    await untilGone(started);
    await world.startEngine();
    expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED', error: null });
    const events = world.topics.eventsOf(run);
    expectTrustworthy(events);
    expect(storyOf(events)).toEqual(['RUNNING', 'only RUNNING', 'only RUNNING', 'only COMPLETED', 'COMPLETED']);
    await world.engine.stderr.until('the plugin to end', () => world.stepLines(run).find(({ msg }) => msg === 'ended'));
    expect(world.stepLines(run).filter(({ msg }) => msg === 'ended')).toHaveLength(1);
  });
});
