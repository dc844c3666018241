/**
 * What the engine stands on: not there at start, lost and back while runs go on, its own sandbox host killed under a
 * step. A start that cannot be says so in one sentence and an exit code; a run that began is finished.
 */
import type { Json } from '@flowops/proto/json.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KafkaService, startKafka } from '../services/kafka.ts';
import { freePort } from '../services/ports.ts';
import { type RedisService, startRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { buildFixtures, fillRegistry, type Registry, startRegistry } from '../support/service-plugins.ts';
import { CAN_SEE_PROCESSES, descendantsOf } from '../support/service-process-tree.ts';
import { expectTrustworthy, type Run, storyOf } from '../support/service-topics.ts';
import { NEIGHBOUR_STORY, neighbourSteps, stepOf, World } from '../support/service-world.ts';

const RUNS = 4;
const CHAIN = Array.from({ length: 10 }, (_, index) => `s${index}`);
const CHAIN_STEPS: Json = CHAIN.map((stepId, index) =>
  stepOf(stepId, 'test.nap', { ms: '100', text: index === 0 ? '' : `s${index - 1}.text` }),
);
const CHAIN_STORY = [
  'RUNNING',
  ...CHAIN.flatMap((stepId) => [`${stepId} RUNNING`, `${stepId} COMPLETED`]),
  'COMPLETED',
];

const folder = scratchFolder();
let kafka: KafkaService;
let redis: RedisService;
let registry: Registry;
let world: World;

beforeAll(async () => {
  const [startedKafka, startedRedis, { nap }] = await Promise.all([startKafka(), startRedis(), buildFixtures(['nap'])]);
  [kafka, redis] = [startedKafka, startedRedis];
  fillRegistry(folder, { 'test.nap': nap });
  registry = await startRegistry(folder);
  world = new World({ brokers: kafka.brokers, redisUrl: redis.url, pluginService: registry.address });
  await world.startEngine();
});

afterAll(async () => {
  await world.close();
  await registry.process.powerCut();
  await Promise.all([kafka.stop(), redis.stop()]);
  removeFolder(folder);
});

describe.concurrent('a start', () => {
  /** A second engine beside the one that runs, with a home of its own unless told otherwise. */
  async function start(env: Readonly<Record<string, string | undefined>>) {
    const second = new World({ brokers: kafka.brokers, redisUrl: redis.url, pluginService: registry.address });
    try {
      const engine = second.launch(env);
      const { code } = await engine.exited;
      const own = engine.stderr.items.filter((line) => !line.startsWith('{'));
      return { code, stdout: engine.stdout.items, sentences: own };
    } finally {
      await second.close();
    }
  }

  it('without a Redis that answers ends with 3 and says at which REDIS_URL', async () => {
    const port = await freePort();
    const { code, stdout, sentences } = await start({ REDIS_URL: `redis://127.0.0.1:${port}` });
    expect({ code, stdout }).toEqual({ code: 3, stdout: [] });
    expect(sentences).toHaveLength(1);
    expect(sentences[0]).toMatch(/^flowops: .*REDIS_URL/);
    expect(sentences[0]).toContain(`127.0.0.1:${port}`);
  });

  it('without a Kafka that answers ends with 3 and says at which KAFKA_BROKERS', async () => {
    const brokers = `127.0.0.1:${await freePort()}`;
    const { code, stdout, sentences } = await start({ KAFKA_BROKERS: brokers });
    expect({ code, stdout }).toEqual({ code: 3, stdout: [] });
    expect(sentences).toHaveLength(1);
    expect(sentences[0]).toContain(`KAFKA_BROKERS=${brokers}`);
  });

  it.each([
    {
      what: 'KAFKA_BROKER for KAFKA_BROKERS',
      env: { KAFKA_BROKERS: undefined, KAFKA_BROKER: 'a:1' },
      says: /KAFKA_BROKER; did you mean KAFKA_BROKERS\?/,
    },
    { what: 'Kafka but no Redis', env: { REDIS_URL: undefined }, says: /KAFKA_BROKERS is set but REDIS_URL is not/ },
    {
      what: 'Redis but no Kafka',
      env: { KAFKA_BROKERS: undefined },
      says: /REDIS_URL is set but KAFKA_BROKERS is not/,
    },
    {
      what: 'neither',
      env: { KAFKA_BROKERS: undefined, REDIS_URL: undefined },
      says: /KAFKA_BROKERS and REDIS_URL are not set.*--embedded/,
    },
    { what: 'no plugins', env: { PLUGIN_SERVICE_ADDRESS: undefined }, says: /PLUGIN_SERVICE_ADDRESS.*PLUGIN_DIR/ },
  ])('with $what ends with 2 and one sentence', async ({ env, says }) => {
    const { code, stdout, sentences } = await start(env);
    expect({ code, stdout }).toEqual({ code: 2, stdout: [] });
    expect(sentences).toEqual([expect.stringMatching(says)]);
  });

  it('with a policy that is not there ends with 2 and names the file', async () => {
    const { code, sentences } = await start({ SANDBOX_POLICY: '/nowhere/policy.yaml' });
    expect(code).toBe(2);
    expect(sentences.join('\n')).toMatch(
      /^flowops: the sandbox policy .*\n +\/nowhere\/policy\.yaml: there is no such file$/,
    );
  });

  it('in the home of a running engine ends with 2 and names its pid', async () => {
    const { code, sentences } = await start({ FLOWOPS_HOME: world.home });
    expect(code).toBe(2);
    expect(sentences).toHaveLength(1);
    expect(sentences[0]).toContain(`the engine with pid ${world.engine.pid} `);
  });
});

/** Several runs, each with steps done and steps to come. */
async function runsUnderWay(): Promise<readonly Run[]> {
  const starts = Array.from({ length: RUNS }, (_, index) => world.topics.start(`chain-${index}`, CHAIN_STEPS));
  const runs = await Promise.all(starts);
  await Promise.all(runs.map((run) => world.topics.step(run, 's1', 'COMPLETED')));
  return runs;
}

/** Every event once, in order, as if nothing had happened. */
async function expectFinished(runs: readonly Run[]): Promise<void> {
  for (const run of runs) {
    expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED' });
    const events = world.topics.eventsOf(run);
    expectTrustworthy(events);
    expect(storyOf(events)).toEqual(CHAIN_STORY);
    await world.engine.stderr.until('all lines of the run', () =>
      world.stepLines(run).length >= 2 * CHAIN.length ? true : undefined,
    );
    for (const stepId of CHAIN) {
      const lines = world.stepLines(run).filter((line) => line.stepId === stepId);
      expect(lines.map(({ msg }) => msg)).toEqual(['began', 'ended']);
    }
  }
}

/** The engine's next log line that holds the text; call it before what causes the line. */
function logged(text: string): Promise<string> {
  const { stderr } = world.engine;
  const from = stderr.items.length;
  return stderr.until(`the log line "${text}"`, (lines) => lines.slice(from).find((line) => line.includes(text)));
}

describe('a Redis that is lost while runs go on', () => {
  it('because it hangs: the runs go on when it answers again', async () => {
    const runs = await runsUnderWay();
    const lost = logged(`Redis at ${redis.url}/0 is lost`);
    redis.freeze();
    await lost.finally(() => redis.thaw());
    await expectFinished(runs);
  });

  it('because it was killed: the runs go on when it is back, and a START that came meanwhile is taken', async () => {
    const runs = await runsUnderWay();
    const lost = logged(`Redis at ${redis.url}/0 is lost`);
    await redis.kill9();
    await lost.catch(async (thrown: unknown) => {
      await redis.restart();
      throw thrown;
    });
    const meanwhile = await world.topics.start('meanwhile', neighbourSteps());
    await redis.restart();
    await expectFinished(runs);
    expect(await world.topics.end(meanwhile)).toMatchObject({ status: 'COMPLETED' });
    expect(storyOf(world.topics.eventsOf(meanwhile))).toEqual(NEIGHBOUR_STORY);
  });
});

describe('a Kafka that is killed while runs go on', () => {
  it('stops the engine that its group does not hear; every event comes, in order, when it is back', async () => {
    const runs = await runsUnderWay();
    const silent = logged('the group has not answered');
    await kafka.kill9();
    // From here on the partitions may be another engine's for all that this one knows: nothing is started any more.
    await silent;
    await kafka.restart();
    for (const run of runs) {
      expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED' });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      // What was cut off began once more; nothing ended twice.
      const story = storyOf(events);
      for (const stepId of CHAIN) expect(story.filter((line) => line === `${stepId} COMPLETED`)).toHaveLength(1);
      expect(story.filter((line, index) => line !== story[index - 1])).toEqual(CHAIN_STORY);
    }
    const next = await world.topics.start('next', neighbourSteps());
    expect(await world.topics.end(next)).toMatchObject({ status: 'COMPLETED' });
  });
});

describe('a sandbox host that is killed under a step', () => {
  it.runIf(CAN_SEE_PROCESSES)(
    'is replaced, the step is run again at no cost of the user, and the run completes',
    { meta: { skipReason: 'needs the process table of Linux' } },
    async () => {
      const run = await world.topics.start('host-killed', [stepOf('only', 'test.nap', { ms: '1500', text: 'a' })]);
      await world.engine.stderr.until('the step to run', () => world.stepLines(run).at(0));
      const [host] = descendantsOf(world.engine.pid);
      if (host === undefined) throw new Error('the engine has no sandbox host');
      process.kill(host.pid, 'SIGKILL');
      expect(await world.topics.end(run)).toMatchObject({ status: 'COMPLETED', error: null });
      const events = world.topics.eventsOf(run);
      expectTrustworthy(events);
      expect(storyOf(events)).toEqual(['RUNNING', 'only RUNNING', 'only RUNNING', 'only COMPLETED', 'COMPLETED']);
      expect(events.map((event) => ('attempt' in event ? event.attempt : undefined))).toEqual([
        undefined,
        1,
        2,
        2,
        undefined,
      ]);
      await world.engine.stderr.until('the plugin to end', () =>
        world.stepLines(run).find(({ msg }) => msg === 'ended'),
      );
      expect(world.stepLines(run).map(({ msg }) => msg)).toEqual(['began', 'began', 'ended']);
    },
  );
});
