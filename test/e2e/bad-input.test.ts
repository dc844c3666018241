/**
 * What goes wrong from outside: commands, definitions, plugin services and plugins that are not as they should be. Each
 * has its clear error and its right status events on one running service, while a neighbour's run beside it goes through
 * as if nothing were. The tests of this file run at the same time, as misfortunes do; those that wait
 * for a deadline of 30 s come first.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import type { Json } from '@flowops/proto/json.ts';
import { PluginJarResponseSchema, PluginMetadataSchema } from '@flowops/proto/plugin_service_pb.js';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type KafkaService, startKafka } from '../services/kafka.ts';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { startPluginService, type TestPluginService } from '../support/plugin-service.ts';
import { buildFixtures, fillRegistry, handMade, startRegistry } from '../support/service-plugins.ts';
import { runFlowops } from '../support/service-process.ts';
import { expectTrustworthy, type Run, storyOf } from '../support/service-topics.ts';
import { NEIGHBOUR_STORY, neighbourSteps, stepOf, World } from '../support/service-world.ts';

const MIB = 1024 * 1024;
const folder = scratchFolder();
const marker = join(folder, 'written-by-a-plugin');

const writesAtTopLevel = `globalThis.process.getBuiltinModule('node:fs').writeFileSync(${JSON.stringify(marker)}, 'x');`;
/** Bundles that no build of ours would make. */
const HAND_MADE: Readonly<Record<string, Uint8Array>> = {
  'test.imports-fs': handMade(
    'test.imports-fs',
    `import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(marker)}, 'x'); export default {};`,
  ),
  'test.top-writes': handMade('test.top-writes', `${writesAtTopLevel} export default {};`),
  'test.top-environment': handMade('test.top-environment', 'export default { home: process.env.HOME };'),
  'test.top-waits': handMade('test.top-waits', 'await new Promise(() => {}); export default {};'),
  'test.top-loops': handMade('test.top-loops', 'for (;;); export default {};'),
  'test.no-task': handMade('test.no-task', 'export default 42;'),
  'test.no-javascript': handMade('test.no-javascript', 'this is } no { program'),
};
/** What a plugin service may hold instead of bundles. */
const NO_BUNDLES: Readonly<Record<string, Uint8Array>> = {
  'test.jar': Buffer.concat([Buffer.from('PK\u0003\u0004'), randomBytes(5000)]),
  'test.junk': randomBytes(5000),
  'test.empty': new Uint8Array(),
  'test.forty-mb': Buffer.alloc(40 * MIB, 1),
};

let kafka: KafkaService;
let redis: FreshRedis;
let pluginService: TestPluginService;
let world: World;
let nap: Uint8Array;
/** Ends the wait of the slow plugin's service. */
let answerSlowly: () => void;

beforeAll(async () => {
  const names = ['nap', 'throws', 'nonsense', 'never', 'loops'] as const;
  const [started, fresh, built] = await Promise.all([
    startKafka({ maxMessageBytes: 5 * MIB }),
    freshRedis(inject('redisUrl')),
    buildFixtures(names),
  ]);
  [kafka, redis, nap] = [started, fresh, built.nap];
  const fixtures = Object.fromEntries(names.map((name) => [`test.${name}`, built[name]]));
  pluginService = await servePlugins({ ...fixtures, ...HAND_MADE, ...NO_BUNDLES, 'test.slow': nap });
  world = new World({ brokers: kafka.brokers, redisUrl: redis.url, pluginService: pluginService.address });
  await world.startEngine();
});

afterAll(async () => {
  await world.close();
  await Promise.all([kafka.stop(), pluginService.kill(), redis.release()]);
  expect(existsSync(marker)).toBe(false);
  removeFolder(folder);
});

/** A service as it is today: two calls, and whatever bytes. `test.slow` waits, `test.silent` never answers. */
function servePlugins(plugins: Readonly<Record<string, Uint8Array>>): Promise<TestPluginService> {
  const slow = new Promise<void>((resolve) => {
    answerSlowly = resolve;
  });
  return startPluginService({
    getPluginMetadata: async ({ request: { pluginId } }, callback) => {
      if (pluginId === 'test.silent') return;
      if (pluginId === 'test.slow') await slow;
      if (plugins[pluginId] === undefined) {
        callback({ code: status.NOT_FOUND, details: `Plugin not found: ${pluginId}` });
        return;
      }
      const described = pluginId === 'test.empty' ? 'test.other' : pluginId;
      callback(null, create(PluginMetadataSchema, { id: randomUUID(), pluginId: described, version: '1.0.0' }));
    },
    getPluginJar: ({ request: { pluginId } }, callback) => {
      callback(null, create(PluginJarResponseSchema, { jar: plugins[pluginId] ?? new Uint8Array() }));
    },
  });
}

/** Runs something beside a neighbour, whose run must be told as if it had been alone. */
async function besideNeighbour<T>(misfortune: () => Promise<T>): Promise<T> {
  const neighbour = await world.topics.start('neighbour', neighbourSteps());
  const [result, end] = await Promise.all([misfortune(), world.topics.end(neighbour)]);
  expect(end).toMatchObject({ status: 'COMPLETED', error: null });
  expectTrustworthy(world.topics.eventsOf(neighbour));
  expect(storyOf(world.topics.eventsOf(neighbour))).toEqual(NEIGHBOUR_STORY);
  return result;
}

interface Told {
  readonly run: Run;
  readonly story: readonly string[];
  readonly error: string;
  readonly code: string | undefined;
}

async function failedRun(steps: Json, more: Readonly<Record<string, Json>> = {}): Promise<Told> {
  const run = await besideNeighbour(async () => {
    const started = await world.topics.start('misfortune', steps, more);
    await world.topics.end(started);
    return started;
  });
  const events = world.topics.eventsOf(run);
  expectTrustworthy(events);
  expect(events.at(-1)?.status).toBe('FAILED');
  return { run, story: storyOf(events), error: events.at(-1)?.error ?? '', code: events.at(-1)?.code };
}

/** Of a START that is refused: one FLOW_STATUS FAILED, no step event, one outcome with the same words. */
async function refusedRun(steps: Json): Promise<Told> {
  const told = await failedRun(steps);
  expect(told.story).toEqual(['FAILED']);
  await world.topics.outcome(told.run, 'START');
  const outcomes = world.topics.outcomes.items.filter(({ runId }) => runId === told.run.runId);
  expect(outcomes).toMatchObject([{ outcome: 'REJECTED', code: told.code, message: told.error }]);
  return told;
}

describe.concurrent('a plugin service', () => {
  it('that never answers has the START refused after its deadline', async () => {
    const told = await refusedRun([stepOf('only', 'test.silent')]);
    expect(told.error).toMatch(/step only: .*PLUGIN_SERVICE_ADDRESS.*did not answer in time/);
    expect(told.code).toBe('SANDBOX_UNAVAILABLE');
  });

  it('that is down lets runs that have their plugins go on, and has a START refused after its deadline', async () => {
    const dir = join(folder, 'registry');
    mkdirSync(dir);
    fillRegistry(dir, { 'test.nap': nap, 'test.other': nap });
    const registry = await startRegistry(dir);
    const ownRedis = await freshRedis(inject('redisUrl'));
    const own = new World({ brokers: kafka.brokers, redisUrl: ownRedis.url, pluginService: registry.address });
    try {
      await own.startEngine();
      const neighbour = await own.topics.start('neighbour', neighbourSteps(500));
      await own.topics.step(neighbour, 'first', 'RUNNING');
      await registry.process.kill9();
      const run = await own.topics.start('down', [stepOf('only', 'test.other')]);
      expect(await own.topics.end(neighbour)).toMatchObject({ status: 'COMPLETED' });
      expect(storyOf(own.topics.eventsOf(neighbour))).toEqual(NEIGHBOUR_STORY);
      expect(await own.topics.end(run)).toMatchObject({ status: 'FAILED', code: 'SANDBOX_UNAVAILABLE' });
      expect(storyOf(own.topics.eventsOf(run))).toEqual(['FAILED']);
      expect(own.topics.eventsOf(run)[0]?.error).toMatch(
        /step only: .*the plugin service at 127\.0\.0\.1:\d+ \(PLUGIN_SERVICE_ADDRESS\) cannot be reached; is it running\?/,
      );
    } finally {
      await own.close();
      await ownRedis.release();
    }
  });

  it('that is slow holds up nobody else, least of all a STOP, and its run goes through', async () => {
    const [slow, stopped] = await Promise.all(
      ['slow', 'slow-stopped'].map((flowId) =>
        world.topics.start(flowId, [stepOf('only', 'test.slow', { text: 'x' })]),
      ),
    );
    if (slow === undefined || stopped === undefined) throw new Error('two runs were started');
    await besideNeighbour(() => world.topics.command('EXECUTION_STOP', stopped));
    expect(await world.topics.end(stopped)).toMatchObject({ status: 'STOPPED' });
    expect(storyOf(world.topics.eventsOf(stopped))).toEqual(['STOPPED']);
    expect(world.topics.eventsOf(slow)).toEqual([]);
    answerSlowly();
    expect(await world.topics.end(slow)).toMatchObject({ status: 'COMPLETED' });
  });

  it.each([
    {
      pluginId: 'test.missing',
      code: 'FLOW_INVALID',
      says: /step only: .*"test\.missing" is not in .*PLUGIN_SERVICE_ADDRESS/,
    },
    { pluginId: 'test.jar', code: 'PLUGIN_INVALID', says: /PLUGIN_INVALID.*Java archive/ },
    { pluginId: 'test.junk', code: 'PLUGIN_INVALID', says: /PLUGIN_INVALID.*first line/ },
    { pluginId: 'test.empty', code: 'PLUGIN_INVALID', says: /PLUGIN_INVALID.*another plugin, "test\.other"/ },
    { pluginId: 'test.forty-mb', code: 'PLUGIN_INVALID', says: /PLUGIN_INVALID.*more than 16 MiB/ },
  ])('that gives $pluginId has the START refused in words that say so', async ({ pluginId, code, says }) => {
    const told = await refusedRun([stepOf('fine', 'test.nap'), stepOf('only', pluginId)]);
    expect(told.error).toMatch(says);
    expect(told.code).toBe(code);
  });
});

describe.concurrent('a message that is no command', () => {
  const run = { flowId: 'f', runId: 'r-1' };
  it.concurrent.each([
    { what: 'no JSON', value: '{not json', reason: /not JSON/ },
    { what: 'empty', value: '', reason: /empty/ },
    { what: 'without a value', value: null, reason: /no value/ },
    { what: 'not UTF-8', value: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), reason: /not UTF-8/ },
    { what: 'a list', value: '[{"eventType":"EXECUTION_START"}]', reason: /not a JSON object/ },
    { what: 'encoded three times', value: JSON.stringify(JSON.stringify('"{}"')), reason: /not a JSON object/ },
    {
      what: 'of an unknown kind',
      value: JSON.stringify({ ...run, eventType: 'EXECUTION_DANCE' }),
      reason: /EXECUTION_DANCE/,
    },
    {
      what: 'without ids',
      value: JSON.stringify({ eventType: 'EXECUTION_START', steps: [] }),
      reason: /flowId.*runId/,
    },
    {
      what: 'wrong-typed',
      value: JSON.stringify({ ...run, eventType: 'START', inputs: 7, priority: 'x' }),
      reason: /inputs.*priority/,
    },
    {
      what: 'for an impossible runId',
      value: JSON.stringify({ flowId: 'f', runId: 'a:b', eventType: 'START' }),
      reason: /runId/,
    },
  ])('$what is a dead letter that says why, and what comes after it is not held up', async ({ value, reason }) => {
    const key = randomUUID();
    await besideNeighbour(() => world.topics.send(key, value));
    const letter = await world.topics.deadLetters.until('the dead letter', (letters) =>
      letters.find((found) => found.key === key),
    );
    expect(letter.headers['flowops-reason']).toMatch(reason);
    expect(letter.value).toEqual(value === null ? null : Buffer.from(value));
    expect(letter.headers).toMatchObject({ 'flowops-topic': world.topics.names.commands });
  });

  it('is answered where it says for which run it was', async () => {
    const asked = { flowId: 'misfortune', runId: randomUUID() };
    await world.topics.command('EXECUTION_DANCE', asked);
    const outcome = await world.topics.outcomes.until('the outcome', (all) =>
      all.find(({ runId }) => runId === asked.runId),
    );
    expect(outcome).toMatchObject({ outcome: 'REJECTED', code: 'COMMAND_INVALID' });
    expect(outcome.message).toContain('EXECUTION_DANCE');
    expect(world.topics.eventsOf(asked)).toEqual([]);
  });

  it('of 3 MB is a whole dead letter, and the next command of its partition is taken', async () => {
    const runId = randomUUID();
    const huge = { eventType: 'EXECUTION_START', flowId: 'huge', runId, steps: [], padding: 'x'.repeat(3 * MIB) };
    await world.topics.send(runId, JSON.stringify(huge));
    const after = { flowId: 'after-huge', runId: randomUUID() };
    const next = { eventType: 'EXECUTION_START', ...after, steps: neighbourSteps() };
    await world.topics.send(runId, JSON.stringify(next));
    const letter = await world.topics.deadLetters.until('the dead letter', (letters) =>
      letters.find(({ key }) => key === runId),
    );
    expect(letter.headers['flowops-reason']).toMatch(/more than 1048576 bytes.*HTTP/);
    expect(letter.value?.length).toBe(JSON.stringify(huge).length);
    expect(await world.topics.end(after)).toMatchObject({ status: 'COMPLETED' });
  });
});

describe.concurrent('a command for a run that is not there, or not any more', () => {
  it.each(['PAUSE', 'RESUME', 'STOP'])('%s of an unknown run is refused, and nothing is published', async (kind) => {
    const run = { flowId: 'unknown', runId: randomUUID() };
    await besideNeighbour(() => world.topics.command(`EXECUTION_${kind}`, run));
    expect(await world.topics.outcome(run, kind)).toMatchObject({ outcome: 'REJECTED', code: 'RUN_UNKNOWN' });
    expect(world.topics.eventsOf(run)).toEqual([]);
  });

  it('the same START again is a duplicate, another one under the same id is refused', async () => {
    const run = await world.topics.start('twice', neighbourSteps());
    await world.topics.end(run);
    const again = { eventType: 'EXECUTION_START', ...run, triggeredBy: 'test' };
    await world.topics.send(run.runId, JSON.stringify({ ...again, steps: neighbourSteps() }));
    await world.topics.send(run.runId, JSON.stringify({ ...again, steps: neighbourSteps(51) }));
    const outcomes = await world.topics.outcomes.until('three outcomes', (all) => {
      const found = all.filter(({ runId }) => runId === run.runId);
      return found.length === 3 ? found : undefined;
    });
    expect(outcomes).toMatchObject([
      { outcome: 'ACCEPTED' },
      { outcome: 'DUPLICATE' },
      { outcome: 'REJECTED', code: 'RUN_EXISTS' },
    ]);
    expect(storyOf(world.topics.eventsOf(run))).toEqual(NEIGHBOUR_STORY);
  });
});

describe.concurrent('a definition', () => {
  it('with every kind of mistake is refused with all of them at once', async () => {
    const { error, code } = await refusedRun([
      stepOf('a', 'test.nap', { text: 'b.text' }),
      stepOf('b', 'test.nap', { text: 'c.text' }),
      stepOf('c', 'test.nap', { text: '${a.text}' }),
      stepOf('twice', 'test.nap'),
      stepOf('twice', 'test.nap'),
      stepOf('typed', 'test.nap', { ms: 'many' }),
      stepOf('far', 'test.nap', { text: '${nowhere.text}' }),
      stepOf('near', 'test.nap', { text: 'typed.txet' }),
      stepOf('lost', 'test.missing'),
      stepOf('bare', null),
      stepOf('given', 'test.nap', { text: '${flow.input.region}' }),
      stepOf('later', 'test.nap', {}, { timeoutMs: 0, retryCount: 3, retryDelayMs: 0 }),
      stepOf('not:an:id', 'test.nap'),
      stepOf('negative', 'test.nap', {}, { timeoutMs: -1 }),
      'no step at all',
    ]);
    expect(code).toBe('FLOW_INVALID');
    expect(error).toMatch(/^the flow has \d+ problems: /);
    for (const part of [
      /cycle: a → (b → c|c → b) → a|cycle: b → (a → c|c → a) → b|cycle: c → (a → b|b → a) → c/,
      /step twice: .*more than once/,
      /step typed: input ms must be integer, not "many"/,
      /step far: .*nowhere.*does not exist/,
      /step near: .*typed\.txet.*did you mean text/,
      /step lost: .*test\.missing/,
      /step bare: pluginId is missing/,
      /step given: .*flow\.input\.region/,
      /step later: config\.retryCount is not supported/,
      /steps\[12\] \(not:an:id\): stepId/,
      /steps\[13\] \(negative\): config\.timeoutMs/,
      /steps\[14\]: /,
    ]) {
      expect(error).toMatch(part);
    }
  });

  it.each([
    { what: 'without steps', steps: null, says: /list of steps/ },
    { what: 'with no step in it', steps: [], says: /no steps/ },
    { what: 'that is text', steps: 'all of them', says: /list of steps/ },
  ])('$what is refused, not run for ever', async ({ steps, says }) => {
    const { error, code } = await refusedRun(steps);
    expect(error).toMatch(says);
    expect(code).toBe('FLOW_INVALID');
  });
});

/** Whether it had the core for itself, or was ended because others had it. */
const LIMIT_TOLD = /\b1000\b/;

describe.concurrent('a plugin', () => {
  const ran = ['RUNNING', 'only RUNNING', 'only FAILED', 'FAILED'];
  it.each([
    { pluginId: 'test.throws', code: 'PLUGIN_ERROR', says: /the customer has no address/ },
    { pluginId: 'test.nonsense', code: 'OUTPUT_INVALID', says: /count.*integer/ },
    { pluginId: 'test.never', code: 'LIMIT_WALL', says: LIMIT_TOLD, timeoutMs: 1000 },
    { pluginId: 'test.loops', code: 'LIMIT_WALL', says: LIMIT_TOLD, timeoutMs: 1000 },
    { pluginId: 'test.imports-fs', code: 'PLUGIN_INVALID', says: /node:fs/ },
    { pluginId: 'test.top-writes', code: 'PLUGIN_ERROR', says: /undefined/ },
    { pluginId: 'test.top-environment', code: 'PLUGIN_ERROR', says: /process is not defined/ },
    { pluginId: 'test.top-waits', code: 'LIMIT_WALL', says: LIMIT_TOLD, timeoutMs: 1000 },
    { pluginId: 'test.top-loops', code: 'LIMIT_WALL', says: LIMIT_TOLD, timeoutMs: 1000 },
    { pluginId: 'test.no-task', code: 'PLUGIN_INVALID', says: /./ },
    { pluginId: 'test.no-javascript', code: 'PLUGIN_INVALID', says: /not a JavaScript module: .*:2:6/ },
  ])('$pluginId fails its own step with $code, and only that', async ({ pluginId, code, says, timeoutMs = 0 }) => {
    const told = await failedRun([stepOf('only', pluginId, {}, { timeoutMs, retryCount: 0, retryDelayMs: 0 })]);
    expect(told.story).toEqual(ran);
    expect(told.code).toBe(code);
    expect(told.error).toMatch(/^step only failed: /);
    expect(told.error).toMatch(says);
    expect(told.error).not.toContain(folder);
  });

  it('that fails cancels what runs beside it, and FAILED is the last that is told', async () => {
    const told = await failedRun(
      [
        stepOf('long', 'test.never'),
        stepOf('bad', 'test.nap', { ms: '200' }),
        stepOf('worse', 'test.throws', { after: 'bad.text' }),
        stepOf('unborn', 'test.nap', { text: 'long.none' }),
      ].slice(0, 3),
    );
    expect(told.code).toBe('PLUGIN_ERROR');
    expect(told.story.at(-1)).toBe('FAILED');
    expect(told.story).toContain('long CANCELLED');
  });
});

describe.concurrent("an author's plugin whose top level", () => {
  const task = "import { defineTask } from '@flowops/sdk';\n";
  const rest = "\nexport default defineTask({ name: 'test.top', version: '1.0.0', run() {} });\n";
  it.each([
    {
      does: 'writes a file',
      code: `import { writeFileSync } from 'node:fs';\nwriteFileSync(${JSON.stringify(marker)}, 'x');`,
      says: /node:fs/,
    },
    { does: 'writes a file by a way around', code: writesAtTopLevel, says: /undefined/ },
    { does: 'never ends', code: 'await new Promise(() => {});', says: /LIMIT|long|ms|end/ },
    { does: 'loops', code: 'for (;;);', says: /LIMIT|long|ms|end/ },
    { does: 'reads the environment', code: 'export const home = process.env.HOME;', says: /process/ },
  ])('$does cannot be built or inspected, and has done nothing', async ({ does, code, says }) => {
    const dir = join(folder, does.replaceAll(' ', '-'));
    mkdirSync(dir);
    const source = join(dir, 'plugin.ts');
    writeFileSync(source, `${task}${code}${rest}`);
    for (const args of [
      ['build', source, '--out', join(dir, 'plugin.js')],
      ['inspect', source],
    ]) {
      const end = await runFlowops(['plugin', ...args], { cwd: dir });
      expect(end).toMatchObject({ code: 1, stdout: '' });
      expect(end.stderr).toMatch(says);
    }
    expect(existsSync(join(dir, 'plugin.js'))).toBe(false);
    expect(existsSync(marker)).toBe(false);
  });
});
