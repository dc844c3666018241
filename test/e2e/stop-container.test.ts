/** STOP of a run whose step has no container yet: its image is missing, or Docker is in the middle of the start. */
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, inject, it, type TestContext } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import { freshRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { startDockerGate } from '../support/docker-gate.ts';
import { buildFixtures, fillRegistry, type Registry, startRegistry } from '../support/service-plugins.ts';
import { expectTrustworthy, type Run, storyOf } from '../support/service-topics.ts';
import { stepOf, World } from '../support/service-world.ts';

const POLICY = 'version: 1\n'; // unsigned plugins run in containers

const folder = scratchFolder();
let docker: DockerService;
let registry: Registry;

beforeAll(async () => {
  docker = await startDocker();
  const { nap } = await buildFixtures(['nap']);
  fillRegistry(folder, { 'boxed.nap': nap });
  registry = await startRegistry(folder);
});

afterAll(async () => {
  await registry.process.powerCut();
  await docker.stop();
  removeFolder(folder);
});

async function openWorld({ onTestFinished }: TestContext, env: Record<string, string>): Promise<World> {
  const redis = await freshRedis(inject('redisUrl'));
  const places = { brokers: inject('kafkaBrokers'), redisUrl: redis.url, pluginService: registry.address };
  const world = new World({ ...places, policy: POLICY, env: { ...docker.env, ...env } });
  onTestFinished(async () => {
    await world.close();
    await redis.release();
  });
  await world.startEngine();
  return world;
}

/** Containers are named after the run whose step they serve. */
async function containersFor({ runId }: Run): Promise<readonly string[]> {
  const found = await new Docker({ socketPath: docker.host.replace(/^unix:\/\//, '') }).listContainers({ all: true });
  return found.flatMap(({ Names }) => Names.filter((name) => name.includes(runId)));
}

describe('STOP of a run', () => {
  it('whose container is being started is told while Docker still starts it, and nothing of it ever runs', async (context) => {
    const gate = await startDockerGate(docker.host, join(folder, 'gate.sock'));
    context.onTestFinished(() => gate.stop());
    const world = await openWorld(context, { DOCKER_HOST: gate.host });
    const run = await world.topics.start('starting', [
      stepOf('first', 'boxed.nap', { text: 'a' }),
      stepOf('second', 'boxed.nap', { text: 'first.text' }),
    ]);
    await world.topics.step(run, 'first', 'RUNNING');
    await gate.held.until('Docker to be asked for a start', (held) => held.length > 0 || undefined);
    await world.topics.command('EXECUTION_STOP', run);
    expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
    gate.open();
    // The containers that were on their way, or others, serve the next run.
    const next = await world.topics.start('next', [stepOf('only', 'boxed.nap', { text: 'b' })]);
    expect(await world.topics.end(next)).toMatchObject({ status: 'COMPLETED', error: null });
    expect(world.stepLines(run)).toEqual([]);
    expect(await containersFor(run)).toEqual([]);
    const events = world.topics.eventsOf(run);
    expectTrustworthy(events);
    expect(storyOf(events)).toEqual(['RUNNING', 'first RUNNING', 'second CANCELLED', 'first CANCELLED', 'STOPPED']);
  });

  it('whose image is missing is told, whether its step is being tried or waits for its next try', async (context) => {
    const world = await openWorld(context, { SANDBOX_IMAGE: 'flowops/no-such-image:1' });
    const runs = await Promise.all(
      [1, 2, 3].map(async (tries) => {
        const run = await world.topics.start(`imageless-${tries}`, [stepOf('only', 'boxed.nap', { text: 'a' })]);
        await world.topics.events.until(`try ${tries}`, (events) =>
          events.find((event) => event.runId === run.runId && 'attempt' in event && event.attempt === tries),
        );
        await world.topics.command('EXECUTION_STOP', run);
        return run;
      }),
    );
    for (const run of runs) {
      expect(await world.topics.end(run)).toMatchObject({ status: 'STOPPED', error: null });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      expect(storyOf(events).slice(-2)).toEqual(['only CANCELLED', 'STOPPED']);
      expect(world.stepLines(run)).toEqual([]);
    }
  });
});
