/** STOP, PAUSE and RESUME as other services send them to a running service: what is told, in which order, and when. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { type FixtureRegistry, serveFixtures } from '../support/service-plugins.ts';
import { expectTrustworthy, storyOf } from '../support/service-topics.ts';
import { stepOf, World } from '../support/service-world.ts';

let registry: FixtureRegistry;
let redis: FreshRedis;
let world: World;

beforeAll(async () => {
  [registry, redis] = await Promise.all([serveFixtures(['nap', 'never', 'stoppable']), freshRedis(inject('redisUrl'))]);
  world = new World({ brokers: inject('kafkaBrokers'), redisUrl: redis.url, pluginService: registry.address });
  await world.startEngine();
});

afterAll(async () => {
  await world.close();
  await registry.close();
  await redis.release();
});

describe.concurrent('a command to a running flow', () => {
  it('STOP tells the plugin, kills what does not end, and STOPPED is the last that is told', async () => {
    const run = await world.topics.start('stopped', [
      stepOf('willing', 'test.stoppable'),
      stepOf('unwilling', 'test.never'),
      stepOf('later', 'test.nap', { text: 'willing.end' }),
    ]);
    await world.engine.stderr.until('both steps to run', () => world.stepLines(run).length === 2 || undefined);
    await world.topics.command('EXECUTION_STOP', run);
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
    const events = world.topics.eventsOf(run);
    expectTrustworthy(events);
    const story = storyOf(events);
    expect([...story].sort()).toEqual(
      [
        ...['RUNNING', 'STOPPED', 'later CANCELLED'],
        ...['unwilling CANCELLED', 'unwilling RUNNING', 'willing CANCELLED', 'willing RUNNING'],
      ].sort(),
    );
    await world.engine.stderr.until('the plugin to be told', () =>
      world.stepLines(run).find(({ stepId, msg }) => stepId === 'willing' && msg === 'stop() was called'),
    );
    expect(await world.topics.outcome(run, 'STOP')).toMatchObject({ outcome: 'ACCEPTED', triggeredBy: 'test' });

    await world.topics.command('EXECUTION_RESUME', run);
    expect(await world.topics.outcome(run, 'RESUME')).toMatchObject({ outcome: 'REJECTED', code: 'RUN_FINAL' });
  });

  it('PAUSE lets running steps finish and starts no other; RESUME goes on', async () => {
    const run = await world.topics.start('paused', [
      stepOf('first', 'test.nap', { ms: '1000', text: 'a' }),
      stepOf('second', 'test.nap', { ms: '10', text: 'first.text' }),
    ]);
    await world.topics.step(run, 'first', 'RUNNING');
    await world.topics.command('EXECUTION_PAUSE', run);
    await world.topics.step(run, 'first', 'COMPLETED');
    // Told when the pause began, and once more when it became quiet.
    await world.topics.outcomes.until('the pause to be quiet', (all) => {
      const pauses = all.filter(({ runId, command }) => runId === run.runId && command.endsWith('PAUSE'));
      return pauses.length === 2 || undefined;
    });
    expect(storyOf(world.topics.eventsOf(run))).toEqual(['RUNNING', 'first RUNNING', 'PAUSED', 'first COMPLETED']);
    await world.topics.command('EXECUTION_RESUME', run);
    await world.topics.end(run);
    const events = world.topics.eventsOf(run);
    expectTrustworthy(events);
    expect(storyOf(events).slice(4)).toEqual(['RUNNING', 'second RUNNING', 'second COMPLETED', 'COMPLETED']);
  });
});
