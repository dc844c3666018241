/**
 * Commands that come as they should not: for runs of another engine, on another partition, for unknown and for finished
 * runs, twice, out of order, too late, and all of them once more. Each has its one right outcome (design 4.3) and no
 * effect beside it. Two engines share one group; a third world is told everything twice.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { kafkaConsole } from '../services/kafka.ts';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { untilShared } from '../support/service-partitions.ts';
import { buildFixtures, fillRegistry, type Registry, startRegistry } from '../support/service-plugins.ts';
import { expectTrustworthy, type Run, storyOf } from '../support/service-topics.ts';
import { NEIGHBOUR_STORY, neighbourSteps, stepOf, World } from '../support/service-world.ts';

const PARTITIONS = 4;
const DAY_MS = 24 * 60 * 60 * 1000;
/** Older than a START may be whose run could have been forgotten (7 days less 1 hour). */
const STALE_AGE_MS = 8 * DAY_MS;

const folder = scratchFolder();
let registry: Registry;
let redis: FreshRedis;
let world: World;
/** A partition of each of the two engines. */
let here: number;
let there: number;

beforeAll(async () => {
  const { nap, never } = await buildFixtures(['nap', 'never']);
  fillRegistry(folder, { 'test.nap': nap, 'test.never': never });
  [registry, redis] = await Promise.all([startRegistry(folder), freshRedis(inject('redisUrl'))]);
  world = new World({ brokers: inject('kafkaBrokers'), redisUrl: redis.url, pluginService: registry.address });
  const one = await world.startEngine();
  const other = await world.startEngine({ FLOWOPS_HOME: join(world.home, '..', 'other-home') });
  const [ofOne, ofOther] = await untilShared([one, other], PARTITIONS);
  here = ofOne?.[0] ?? -1;
  there = ofOther?.[0] ?? -1;
});

afterAll(async () => {
  await world.close();
  await registry.process.powerCut();
  await redis.release();
  removeFolder(folder);
});

/** The first `count` outcomes of a run's commands as `COMMAND OUTCOME CODE`, and what came beyond them. Quiet pauses are told twice: once here. */
function told(run: Run, count: number, from = world): Promise<readonly string[]> {
  return from.topics.outcomes.until(`${count} outcomes of ${run.flowId}`, (all) => {
    const own = all.filter(({ runId, quiescent }) => runId === run.runId && quiescent !== true);
    if (own.length < count) return undefined;
    return own.map(({ command, outcome, code }) => `${command} ${outcome}${code === null ? '' : ` ${code}`}`);
  });
}

/** The same of `2 * count` answers. What was in an outbox when its engine died is sent again, with the time it had. */
function toldTwice(run: Run, count: number, from: World): Promise<readonly string[]> {
  return from.topics.outcomes.until(`${2 * count} answers to ${run.flowId}`, (all) => {
    const own = all.filter(({ runId, quiescent }) => runId === run.runId && quiescent !== true);
    const firstCopies = [...new Map(own.map((outcome) => [JSON.stringify(outcome), outcome])).values()];
    return firstCopies.length < 2 * count
      ? undefined
      : firstCopies.map(({ command, outcome }) => `${command} ${outcome}`);
  });
}

/** A run whose only step runs until it is stopped, started on a partition. */
async function endless(partition: number): Promise<Run> {
  const run = { flowId: 'endless', runId: randomUUID() };
  await world.topics.startAs(run, [stepOf('only', 'test.never')], {}, { partition });
  await world.topics.step(run, 'only', 'RUNNING');
  return run;
}

describe.concurrent('a command on a partition that is not the home of its run', () => {
  it('has its effect and one outcome, in the order sent, also when another engine holds the home', async () => {
    const run = await endless(here);
    const on = { partition: there };
    for (const command of ['PAUSE', 'RESUME', 'PAUSE', 'STOP']) {
      await world.topics.command(`EXECUTION_${command}`, run, on);
    }
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
    expect(await told(run, 5)).toEqual([
      'START ACCEPTED',
      ...['PAUSE ACCEPTED', 'RESUME ACCEPTED', 'PAUSE ACCEPTED', 'STOP ACCEPTED'],
    ]);
    const events = world.topics.eventsOf(run);
    expectTrustworthy(events);
    const story = ['RUNNING', 'only RUNNING', 'PAUSED', 'RUNNING', 'PAUSED', 'only CANCELLED', 'STOPPED'];
    expect(storyOf(events)).toEqual(story);
  });

  it('is sent again to the home partition, as it was, with a header that counts', async () => {
    const run = await endless(here);
    await world.topics.command('EXECUTION_STOP', run, { partition: there });
    await world.topics.end(run);
    const records = await (await kafkaConsole(inject('kafkaBrokers'))).consoleConsume(world.topics.names.commands);
    const stops = records.filter(({ key, value }) => key === run.runId && value?.includes('EXECUTION_STOP'));
    const sent = stops.find(({ partition }) => partition === there);
    const sentOn = stops.find(({ partition }) => partition === here);
    expect(stops).toHaveLength(2);
    expect(sent?.headers).toBe('');
    expect(sentOn?.headers).toMatch(/^flowops-hops:1,/);
    expect(sentOn?.value).toBe(sent?.value);
  });

  it('that was sent on three times already is refused, and the run goes on', async () => {
    const run = await endless(here);
    await world.topics.command('EXECUTION_STOP', run, { partition: there, headers: { 'flowops-hops': '3' } });
    expect(await told(run, 2)).toEqual(['START ACCEPTED', 'STOP REJECTED COMMAND_INVALID']);
    await world.topics.command('EXECUTION_STOP', run, { partition: there, headers: { 'flowops-hops': '2' } });
    expect(await told(run, 3)).toContain('STOP ACCEPTED');
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED' });
  });

  it('that was sent on twice, because who sent it died before it knew, has its effect once', async () => {
    const run = await endless(here);
    const copy = { partition: here, headers: { 'flowops-hops': '1', 'flowops-origin': `${there}:1000000` } };
    await world.topics.command('EXECUTION_PAUSE', run, copy);
    await world.topics.command('EXECUTION_RESUME', run, { partition: here });
    await world.topics.command('EXECUTION_PAUSE', run, copy);
    expect(await told(run, 4)).toEqual(['START ACCEPTED', 'PAUSE ACCEPTED', 'RESUME ACCEPTED', 'PAUSE ACCEPTED']);
    await world.topics.command('EXECUTION_STOP', run, { partition: here });
    await world.topics.end(run);
    const story = ['RUNNING', 'only RUNNING', 'PAUSED', 'RUNNING', 'only CANCELLED', 'STOPPED'];
    expect(storyOf(world.topics.eventsOf(run))).toEqual(story);
  });

  it('and starts the run a second time is a duplicate; another flow under its name is refused', async () => {
    const run = { flowId: 'twice', runId: randomUUID() };
    await world.topics.startAs(run, neighbourSteps(), {}, { partition: here });
    await world.topics.outcome(run, 'START');
    await world.topics.startAs(run, neighbourSteps(), {}, { partition: there });
    expect(await told(run, 2)).toEqual(['START ACCEPTED', 'START DUPLICATE']);
    await world.topics.startAs(run, neighbourSteps(7), {}, { partition: there });
    expect(await told(run, 3)).toContain('START REJECTED RUN_EXISTS');
    await world.topics.end(run);
    const events = world.topics.eventsOf(run);
    expectTrustworthy(events);
    expect(storyOf(events)).toEqual(NEIGHBOUR_STORY);
  });
});

describe.concurrent('a command for a run that nobody knows', () => {
  it('is refused, and the START that comes later runs as if nothing had been', async () => {
    const run = { flowId: 'early', runId: randomUUID() };
    await world.topics.command('EXECUTION_RESUME', run);
    await world.topics.command('EXECUTION_PAUSE', run);
    expect(await told(run, 2)).toEqual(['RESUME REJECTED RUN_UNKNOWN', 'PAUSE REJECTED RUN_UNKNOWN']);
    await world.topics.startAs(run, neighbourSteps());
    expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED' });
    expect(storyOf(world.topics.eventsOf(run))).toEqual(NEIGHBOUR_STORY);
  });

  it.each([
    { where: 'the same partition', stopOn: () => here },
    { where: 'a partition of another engine', stopOn: () => there },
  ])('and is a STOP, on $where, has the later START end STOPPED without running anything', async ({ stopOn }) => {
    const run = { flowId: 'stopped-early', runId: randomUUID() };
    await world.topics.command('EXECUTION_STOP', run, { partition: stopOn() });
    expect(await told(run, 1)).toEqual(['STOP REJECTED RUN_UNKNOWN']);
    await world.topics.startAs(run, neighbourSteps(), {}, { partition: here });
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
    expect(storyOf(world.topics.eventsOf(run))).toEqual(['STOPPED']);
    expect(world.stepLines(run)).toEqual([]);
  });
});

describe.concurrent('a command that comes late', () => {
  it('changes nothing of a run that has ended, and says how it ended', async () => {
    const run = await world.topics.start('ended', neighbourSteps());
    await world.topics.end(run);
    const before = world.topics.eventsOf(run);
    for (const command of ['PAUSE', 'RESUME', 'STOP']) await world.topics.command(`EXECUTION_${command}`, run);
    await world.topics.startAs(run, neighbourSteps());
    expect(await told(run, 5)).toEqual([
      'START ACCEPTED',
      ...['PAUSE REJECTED RUN_FINAL', 'RESUME REJECTED RUN_FINAL', 'STOP REJECTED RUN_FINAL'],
      'START DUPLICATE',
    ]);
    expect(await world.topics.outcome(run, 'PAUSE')).toMatchObject({ message: expect.stringContaining('COMPLETED') });
    expect(world.topics.eventsOf(run)).toEqual(before);
  });

  it('and is a START too old to be sure of is STALE, told to nobody else; of a run that is there it is a duplicate', async () => {
    const old = { timestampMs: Date.now() - STALE_AGE_MS };
    const run = { flowId: 'stale', runId: randomUUID() };
    await world.topics.startAs(run, neighbourSteps(), {}, old);
    expect(await told(run, 1)).toEqual(['START STALE']);
    await world.topics.startAs(run, neighbourSteps());
    await world.topics.end(run);
    await world.topics.startAs(run, neighbourSteps(), {}, old);
    expect(await told(run, 3)).toEqual(['START STALE', 'START ACCEPTED', 'START DUPLICATE']);
    expect(storyOf(world.topics.eventsOf(run))).toEqual(NEIGHBOUR_STORY);
  });
});

describe.concurrent('commands in another order, or twice', () => {
  it('are judged by what the run is then', async () => {
    const run = await endless(there);
    for (const command of ['RESUME', 'PAUSE', 'PAUSE', 'RESUME', 'RESUME', 'STOP', 'STOP']) {
      await world.topics.command(`EXECUTION_${command}`, run, { partition: there });
    }
    await world.topics.end(run);
    const [last, ...others] = [...(await told(run, 8))].reverse();
    expect(others.reverse()).toEqual([
      'START ACCEPTED',
      ...['RESUME DUPLICATE', 'PAUSE ACCEPTED', 'PAUSE DUPLICATE', 'RESUME ACCEPTED', 'RESUME DUPLICATE'],
      'STOP ACCEPTED',
    ]);
    // The run ends beside it.
    expect(['STOP DUPLICATE', 'STOP REJECTED RUN_FINAL']).toContain(last);
    const events = world.topics.eventsOf(run);
    expectTrustworthy(events);
    expect(storyOf(events)).toEqual(['RUNNING', 'only RUNNING', 'PAUSED', 'RUNNING', 'only CANCELLED', 'STOPPED']);
  });
});

describe('a topic of commands that is read once more from its beginning', () => {
  it('has no effect at all: every command gets the outcome it had, no event is new, nothing runs', async (context) => {
    const ownRedis = await freshRedis(inject('redisUrl'));
    const brokers = inject('kafkaBrokers');
    const own = new World({ brokers, redisUrl: ownRedis.url, pluginService: registry.address });
    context.onTestFinished(async () => {
      await own.close();
      await ownRedis.release();
    });
    await own.startEngine();
    // All on one partition: so the last command's outcome comes after those of all others.
    const on = { partition: 0 };
    const names = ['completed', 'stopped', 'paused', 'resumed'] as const;
    const [completed, stopped, paused, resumed] = names.map((flowId): Run => ({ flowId, runId: randomUUID() }));
    if (completed === undefined || stopped === undefined || paused === undefined || resumed === undefined) return;
    await own.topics.startAs(completed, neighbourSteps(), {}, on);
    for (const run of [stopped, paused, resumed]) {
      await own.topics.startAs(run, [stepOf('only', 'test.never')], {}, on);
      await own.topics.step(run, 'only', 'RUNNING');
      await own.topics.command('EXECUTION_PAUSE', run, on);
    }
    await own.topics.command('EXECUTION_RESUME', resumed, on);
    await own.topics.command('EXECUTION_STOP', stopped, on);
    await Promise.all([own.topics.end(completed), own.topics.end(stopped)]);
    const first = {
      completed: ['START ACCEPTED'],
      stopped: ['START ACCEPTED', 'PAUSE ACCEPTED', 'STOP ACCEPTED'],
      paused: ['START ACCEPTED', 'PAUSE ACCEPTED'],
      resumed: ['START ACCEPTED', 'PAUSE ACCEPTED', 'RESUME ACCEPTED'],
    };
    const runs = { completed, stopped, paused, resumed };
    for (const name of names) expect(await told(runs[name], first[name].length, own)).toEqual(first[name]);

    await own.engine.powerCut();
    await readAgain(own, brokers);
    await own.startEngine();
    for (const name of names) {
      expect(await toldTwice(runs[name], first[name].length, own)).toEqual([...first[name], ...first[name]]);
    }
    for (const name of names) {
      const events = own.topics.eventsOf(runs[name]);
      const changes = storyOf(events).filter((line) => !line.includes(' '));
      expect(changes).toEqual(
        {
          completed: ['RUNNING', 'COMPLETED'],
          stopped: ['RUNNING', 'PAUSED', 'STOPPED'],
          paused: ['RUNNING', 'PAUSED'],
          resumed: ['RUNNING', 'PAUSED', 'RUNNING'],
        }[name],
      );
    }
  });
});

/** Sets the group back to the beginning of its topic; it must have no member any more. */
async function readAgain(own: World, brokers: string): Promise<void> {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  try {
    await expect
      .poll(async () => (await admin.describeGroups([own.groupId])).groups[0]?.members.length, { timeout: 30_000 })
      .toBe(0);
    await admin.resetOffsets({ groupId: own.groupId, topic: own.topics.names.commands, earliest: true });
  } finally {
    await admin.disconnect();
  }
}
