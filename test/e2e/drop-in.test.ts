/**
 * The engine in the place of the former one: the existing producer's START as it is, sent and read by Kafka's own
 * console tools, so that nothing of ours is between the contract and what is looked at.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type ConsoleRecord, type KafkaService, startKafka } from '../services/kafka.ts';
import { type RedisService, startRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { PLUGIN_SOURCES, type Registry, startRegistry } from '../support/service-plugins.ts';
import { runFlowops } from '../support/service-process.ts';
import { EXISTING_TOPICS, World } from '../support/service-world.ts';

const CONTRACTS = fileURLToPath(new URL('../fixtures/contracts/', import.meta.url));
const startSchema = z.object({
  flowId: z.string(),
  runId: z.string(),
  steps: z.array(z.object({ stepId: z.string(), pluginId: z.string() })),
});
const START_TEXT = JSON.stringify(JSON.parse(readFileSync(join(CONTRACTS, 'start-existing-producer.json'), 'utf8')));
const START = startSchema.parse(JSON.parse(START_TEXT));
const { flowId, runId } = START;
const KEY = `${flowId}:${runId}`;
const [FIRST, SECOND] = START.steps.map(({ stepId }) => stepId);

const STORY = [
  ['FLOW_STATUS', undefined, 'RUNNING'],
  ['STEP_STATUS', FIRST, 'RUNNING'],
  ['STEP_STATUS', FIRST, 'COMPLETED'],
  ['STEP_STATUS', SECOND, 'RUNNING'],
  ['STEP_STATUS', SECOND, 'COMPLETED'],
  ['FLOW_STATUS', undefined, 'COMPLETED'],
];

/** What the samples of the contract have, and what this engine adds for tolerant readers; nothing else. */
const FLOW_FIELDS = Object.keys(sample('status-flow.json'));
const STEP_FIELDS = Object.keys(sample('status-step.json'));
const ADDED_FIELDS = ['sequence', 'eventId', 'attempt', 'code', 'receipt'];

const eventSchema = z.looseObject({
  eventType: z.string(),
  flowId: z.literal(flowId),
  runId: z.literal(runId),
  stepId: z.string().optional(),
  status: z.string(),
  error: z.null(),
  timestamp: z.iso.datetime(),
  sequence: z.int(),
  eventId: z.string(),
});
type Event = z.output<typeof eventSchema>;

const folder = scratchFolder();
let kafka: KafkaService;
let redis: RedisService;
let registry: Registry;

beforeAll(async () => {
  const dir = join(folder, 'registry');
  mkdirSync(dir);
  [kafka, redis, registry] = await Promise.all([startKafka(), startRedis(), startRegistry(dir)]);
  await Promise.all([publish('hello', START.steps[0]?.pluginId), publish('length', START.steps[1]?.pluginId)]);
});

afterAll(async () => {
  await registry.process.powerCut();
  await Promise.all([kafka.stop(), redis.stop()]);
  removeFolder(folder);
});

/** By the commands that an author types. */
async function publish(name: string, pluginId: string | undefined): Promise<void> {
  const bundle = join(folder, `${name}.js`);
  const source = join(PLUGIN_SOURCES, `${name}.ts`);
  const built = await runFlowops(['plugin', 'build', source, '--out', bundle], { cwd: folder });
  expect(built).toMatchObject({ code: 0 });
  const args = ['plugin', 'publish', bundle, '--registry', registry.address, '--id', pluginId ?? ''];
  const published = await runFlowops(args, { cwd: folder });
  expect(published).toMatchObject({ code: 0 });
}

async function openWorld(redisUrl: string, options: Partial<ConstructorParameters<typeof World>[0]>): Promise<World> {
  const world = new World({ brokers: kafka.brokers, redisUrl, pluginService: registry.address, ...options });
  const engine = world.launch();
  await engine.stderr.until('the engine to be ready', (lines) =>
    lines.find((line) => line.includes('the engine is ready')),
  );
  return world;
}

function sample(name: string): Record<string, unknown> {
  return z.record(z.string(), z.unknown()).parse(JSON.parse(readFileSync(join(CONTRACTS, name), 'utf8')));
}

function expectStory(events: readonly Event[]): void {
  expect(events.map(({ eventType, stepId, status }) => [eventType, stepId, status])).toEqual(STORY);
  expect(events.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(new Set(events.map(({ eventId }) => eventId)).size).toBe(6);
}

describe('the engine on the topics of the former one', () => {
  let world: World;
  let statuses: readonly ConsoleRecord[];
  let events: readonly Event[];

  beforeAll(async () => {
    world = await openWorld(redis.url, { topics: EXISTING_TOPICS });
    await kafka.consoleProduce('execution.commands', runId, START_TEXT);
    await kafka.consoleProduce('execution.commands', 'junk', '{not json');
    statuses = await kafka.consoleConsume('execution.status', { count: STORY.length, timeoutMs: 30_000 });
    events = statuses.map(({ value }) => eventSchema.parse(JSON.parse(value ?? '')));
  });
  afterAll(() => world.close());

  it("tells the existing producer's run in the existing order", () => {
    expectStory(events);
  });

  it('keys every status by flowId:runId, so that a run is on one partition', () => {
    expect(statuses.map(({ key }) => key)).toEqual(STORY.map(() => KEY));
    expect(new Set(statuses.map(({ partition }) => partition)).size).toBe(1);
  });

  it('writes the shapes of the contract: their fields always, beside them only the known additions', () => {
    for (const event of events) {
      const fields = event.eventType === 'FLOW_STATUS' ? FLOW_FIELDS : STEP_FIELDS;
      expect(Object.keys(event).filter((field) => !ADDED_FIELDS.includes(field))).toEqual(fields);
    }
  });

  it('tells nothing more after the end', async () => {
    expect(await kafka.consoleConsume('execution.status', { timeoutMs: 3000 })).toEqual(statuses);
  });

  it('answers the command on execution.outcomes', async () => {
    const outcomes = await kafka.consoleConsume('execution.outcomes', { count: 1, timeoutMs: 15_000 });
    expect(outcomes).toMatchObject([{ key: KEY }]);
    expect(JSON.parse(outcomes[0]?.value ?? '')).toEqual({
      eventType: 'COMMAND_OUTCOME',
      command: expect.stringContaining('START'),
      flowId,
      runId,
      outcome: 'ACCEPTED',
      code: null,
      message: null,
      triggeredBy: 'system',
      via: 'kafka',
      reason: null,
      timestamp: expect.any(String),
    });
  });

  it('keeps junk as one dead letter: key and bytes as they came, origin and reason in headers', async () => {
    const letters = await kafka.consoleConsume('execution.commands.dlq', { timeoutMs: 3000 });
    expect(letters).toMatchObject([{ key: 'junk', value: '{not json' }]);
    const headers = letters[0]?.headers ?? '';
    expect(headers).toMatch(/(^|,)flowops-reason:[^,]+/);
    expect(headers).toMatch(/(^|,)flowops-topic:execution\.commands(,|$)/);
    expect(headers).toMatch(/(^|,)flowops-partition:\d+(,|$)/);
    expect(headers).toMatch(/(^|,)flowops-offset:\d+(,|$)/);
  });

  it('writes no key of Redis but those of the contract', async () => {
    const keys = z.array(z.string()).parse(JSON.parse(await redis.cli('KEYS', '*')));
    const ofRun = keys.filter((key) => key.startsWith('flow:'));
    expect(ofRun).toContain(`flow:{${KEY}}:meta`);
    const allowed = ['meta', 'def', 'steps', 'context', 'outbox', 'inbox'].map((name) => `flow:{${KEY}}:${name}`);
    expect(ofRun.filter((key) => !allowed.includes(key))).toEqual([]);
    const others = keys.filter((key) => !key.startsWith('flow:'));
    expect(others.filter((key) => !/^flowops:\{p\d+\}:(active|epoch)$/.test(key))).toEqual([]);
    expect(await redis.cli('TYPE', `flow:{${KEY}}:meta`)).toBe('hash');
    expect(await redis.cli('TYPE', `flow:{${KEY}}:def`)).toBe('string');
    expect(await redis.cli('TYPE', `flow:{${KEY}}:steps`)).toBe('hash');
    expect(await redis.cli('TYPE', `flow:{${KEY}}:context`)).toBe('hash');
    const outputs = z.array(z.string()).parse(JSON.parse(await redis.cli('HGETALL', `flow:{${KEY}}:context`)));
    expect(outputs).toEqual(
      expect.arrayContaining([`${FIRST}.message`, '"Hello Hello Hello"', `${SECOND}.length`, '17']),
    );
  });
});

describe('KAFKA_STATUS_ENCODING=string', () => {
  it('puts each status once more inside a JSON string, as the former engine did', async () => {
    const topics = {
      commands: 'string.commands',
      status: 'string.status',
      outcomes: 'string.outcomes',
      deadLetters: 'string.dlq',
    };
    const env = { KAFKA_STATUS_ENCODING: 'string', KAFKA_GROUP_ID: 'string' };
    const world = await openWorld(`${redis.url}/1`, { topics, env });
    try {
      await kafka.consoleProduce(topics.commands, runId, START_TEXT);
      const statuses = await kafka.consoleConsume(topics.status, { count: STORY.length, timeoutMs: 30_000 });
      expect(statuses.map(({ key }) => key)).toEqual(STORY.map(() => KEY));
      const events = statuses.map(({ value }) => {
        const text = z.string().parse(JSON.parse(value ?? ''));
        return eventSchema.parse(JSON.parse(text));
      });
      expectStory(events);
    } finally {
      await world.close();
    }
  });
});
