/**
 * `flowops run`, `validate` and `engine --embedded` as a person or a script calls them: what they print, how they end,
 * and what is left of a run whose process was killed. No service; each test has a home of its own.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { statusEventSchema } from '@flowops/proto/statuses.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { PLUGIN_SOURCES } from '../support/service-plugins.ts';
import { type FlowopsProcess, runFlowops, startFlowops } from '../support/service-process.ts';
import { descendantsOf, untilGone } from '../support/service-process-tree.ts';
import { expectTrustworthy, storyOf } from '../support/service-topics.ts';
import { POLICY } from '../support/service-world.ts';

const resultSchema = z.strictObject({
  eventType: z.literal('RUN_RESULT'),
  runId: z.string(),
  status: z.enum(['COMPLETED', 'FAILED', 'STOPPED']),
  outputs: z.record(z.string(), z.record(z.string(), z.json())),
  error: z.string().nullable(),
  code: z.string().nullable(),
});
const errorLineSchema = z.strictObject({ error: z.strictObject({ code: z.string(), message: z.string() }) });
const reportSchema = z.object({ valid: z.boolean(), problems: z.array(z.string()), warnings: z.array(z.string()) });

const folder = scratchFolder();
const PLUGINS = ['--plugins', PLUGIN_SOURCES];

const HELLO = `flowId: hello
steps:
  - { stepId: a, pluginId: test.nap, inputs: { text: one } }
  - { stepId: b, pluginId: test.nap, inputs: { text: a.text } }
`;
const INPUTS = `flowId: typed
inputs:
  count: { type: integer }
  ratio: { type: float, default: 0.5 }
  really: { type: boolean, required: false, default: false }
  data: { type: json, required: false, default: [] }
  name: { type: string, required: false, default: nobody }
steps:
  - { stepId: count, pluginId: test.echo, inputs: { value: '\${flow.input.count}' } }
  - { stepId: really, pluginId: test.echo, inputs: { value: '\${flow.input.really}' } }
  - { stepId: data, pluginId: test.echo, inputs: { value: '\${flow.input.data}' } }
  - { stepId: text, pluginId: test.nap, inputs: { text: '\${flow.input.name} has \${flow.input.count}' } }
`;
const THROWS = 'flowId: throws\nsteps: [{ stepId: only, pluginId: test.throws }]\n';
const STOPPABLE = 'flowId: stoppable\nsteps: [{ stepId: only, pluginId: test.stoppable }]\n';
const NEVER = 'flowId: never\nsteps: [{ stepId: only, pluginId: test.never }]\n';
const CHAIN = Array.from({ length: 12 }, (_, index) => `s${index}`);
const SLOW = `flowId: slow\nsteps:\n${CHAIN.map(
  (id, index) =>
    `  - { stepId: ${id}, pluginId: test.nap, inputs: { ms: 150, text: ${index === 0 ? 'x' : `s${index - 1}.text`} } }\n`,
).join('')}`;
const WRONG = `flowId: wrong
steps:
  - { stepId: a, pluginId: test.nap, inputs: { text: b.text } }
  - { stepId: b, pluginId: test.nap, inputs: { text: a.text, ms: soon } }
  - { stepId: c, pluginId: test.napp }
  - { stepId: c, pluginId: test.nap, inputs: { text: '\${d.text}' } }
  - { stepId: 'e e', pluginId: test.nap }
`;

beforeAll(async () => {
  for (const [name, text] of Object.entries({ HELLO, INPUTS, THROWS, STOPPABLE, NEVER, SLOW, WRONG })) {
    writeFileSync(join(folder, `${name.toLowerCase()}.yaml`), text);
  }
});
afterAll(() => removeFolder(folder));

let homes = 0;
function newHome(): string {
  const home = join(folder, `home-${homes++}`);
  mkdirSync(home);
  return home;
}

const flow = (name: string) => join(folder, `${name}.yaml`);
const at = (home: string, env: Readonly<Record<string, string>> = {}) => ({
  cwd: folder,
  env: { FLOWOPS_HOME: home, ...env },
});

async function run(
  args: readonly string[],
  home = newHome(),
  env: Readonly<Record<string, string>> = {},
  input?: string,
) {
  return runFlowops(['run', ...args], { ...at(home, env), ...(input === undefined ? {} : { input }) });
}

/** The lines of `--json`: events, then one result. */
function readJson(stdout: string | readonly string[]) {
  const lines = typeof stdout === 'string' ? stdout.split('\n') : stdout;
  return {
    events: lines.slice(0, -1).map((line) => statusEventSchema.parse(JSON.parse(line))),
    result: resultSchema.parse(JSON.parse(lines.at(-1) ?? '')),
  };
}

function stderrSays(process: FlowopsProcess, text: string): Promise<string> {
  return process.stderr.until(`"${text}" on stderr`, (lines) => lines.find((line) => line.includes(text)));
}

describe.concurrent('flowops run', () => {
  it('ends with 3 when the plugin service is not there, because a later try may work', async () => {
    const end = await run([flow('hello'), '--json'], newHome(), { PLUGIN_SERVICE_ADDRESS: '127.0.0.1:9' });
    expect(end.code).toBe(3);
    const { result } = readJson(end.stdout);
    expect(result).toMatchObject({ status: 'FAILED', code: 'SANDBOX_UNAVAILABLE' });
    expect(result.error).toContain('PLUGIN_SERVICE_ADDRESS');
  });

  it('--json prints the events as they are published, then one RUN_RESULT, and nothing else', async () => {
    const end = await run([flow('hello'), ...PLUGINS, '--json']);
    expect(end).toMatchObject({ code: 0, stderr: '' });
    const { events, result } = readJson(end.stdout);
    expectTrustworthy(events);
    expect(storyOf(events)).toEqual(['RUNNING', 'a RUNNING', 'a COMPLETED', 'b RUNNING', 'b COMPLETED', 'COMPLETED']);
    const outputs = { a: { text: 'one.' }, b: { text: 'one..' } };
    expect(result).toEqual({
      ...{ eventType: 'RUN_RESULT', runId: events[0]?.runId, status: 'COMPLETED' },
      ...{ outputs, error: null, code: null },
    });
  });

  it('prints outputs on stdout and everything else on stderr', async () => {
    const end = await run([flow('hello'), ...PLUGINS, '--run-id', 'my-run']);
    expect(end).toMatchObject({ code: 0, stdout: 'a.text = "one."\nb.text = "one.."' });
    expect(end.stderr).toContain('run my-run');
    expect(end.stderr).toMatch(/^ {4}a \d\d:\d\d:\d\d\.\d{3} info {2}began/m);
  });

  it('reads each --input by its declared type, and fills in defaults', async () => {
    const given = ['count=3', 'really=true', 'data={"deep":[1,"x"]}', 'name=Ada'].flatMap((pair) => ['--input', pair]);
    const { result } = readJson((await run([flow('inputs'), ...PLUGINS, '--json', ...given])).stdout);
    expect(result.outputs).toEqual({
      count: { value: 3, type: 'number' },
      really: { value: true, type: 'boolean' },
      data: { value: { deep: [1, 'x'] }, type: 'object' },
      text: { text: 'Ada has 3.' },
    });
  });

  it('takes all inputs as one JSON object, from a file or from stdin', async () => {
    const file = join(folder, 'inputs.json');
    writeFileSync(file, '{"count":4}');
    const fromFile = await run([flow('inputs'), ...PLUGINS, '--json', '--inputs', file]);
    expect(readJson(fromFile.stdout).result.outputs).toMatchObject({ text: { text: 'nobody has 4.' } });
    const fromStdin = await run([flow('inputs'), ...PLUGINS, '--json', '--inputs', '-'], newHome(), {}, '{"count":5}');
    expect(readJson(fromStdin.stdout).result.outputs).toMatchObject({ text: { text: 'nobody has 5.' } });
  });

  it.each([
    {
      what: 'an unknown input',
      args: ['inputs', '--input', 'cuont=3'],
      exit: 1,
      says: /cuont.*did you mean count|cuont.*nearest.*count/,
    },
    {
      what: 'an input of the wrong type',
      args: ['inputs', '--input', 'count=many'],
      exit: 1,
      says: /count must be a whole number, but is \\?"many/,
    },
    { what: 'a missing input', args: ['inputs'], exit: 1, says: /count/ },
    { what: 'a file that is not there', args: ['nowhere'], exit: 2, says: /nowhere\.yaml/ },
    { what: 'a flow and --resume', args: ['hello', '--resume', 'x'], exit: 2, says: /--resume/ },
  ])('$what is told before anything runs, under --json as the only line', async ({ args, exit, says }) => {
    const [name = '', ...rest] = args;
    const text = await run([flow(name), ...PLUGINS, ...rest]);
    expect(text).toMatchObject({ code: exit, stdout: '' });
    expect(text.stderr).toMatch(/^flowops: /);
    expect(text.stderr).toMatch(says);
    const json = await run([flow(name), ...PLUGINS, ...rest, '--json']);
    expect(json.code).toBe(text.code);
    expect(errorLineSchema.parse(JSON.parse(json.stdout)).error.message).toMatch(says);
  });

  it('ends with 1 when a step fails, and says why', async () => {
    const end = await run([flow('throws'), ...PLUGINS, '--json']);
    expect(end.code).toBe(1);
    const { events, result } = readJson(end.stdout);
    expect(storyOf(events)).toEqual(['RUNNING', 'only RUNNING', 'only FAILED', 'FAILED']);
    expect(result).toMatchObject({ status: 'FAILED', code: 'PLUGIN_ERROR', outputs: {} });
    expect(result.error).toContain('the customer has no address');
  });

  it('shows where a step failed, with the lines of its plugin', async () => {
    const end = await run([flow('throws'), ...PLUGINS]);
    expect(end).toMatchObject({ code: 1, stdout: '' });
    expect(end.stderr).toMatch(/^ {4}only \S*throws\.ts:8:\d+: thrown here$/m);
    expect(end.stderr).toContain(
      "\n      8 |     throw new Error('the customer has no address');\n        |           ^\n",
    );
  });

  it('ends with 1 when the flow is wrong, all of it told', async () => {
    const end = await run([flow('wrong'), ...PLUGINS, '--json']);
    expect(end.code).toBe(1);
  });

  it('stops at the first Ctrl-C: the plugin is told, the run ends STOPPED, the exit code is 130', async () => {
    const running = startFlowops(['run', flow('stoppable'), ...PLUGINS], at(newHome()));
    await stderrSays(running, 'info  began');
    const started = descendantsOf(running.pid);
    running.signal('SIGINT');
    expect(await running.exited).toMatchObject({ code: 130 });
    expect(running.stderr.items.join('\n')).toContain('info  stop() was called');
    expect(running.stderr.items.join('\n')).toContain('flow STOPPED');
    await untilGone(started);
  });

  it('tells the STOPPED of a Ctrl-C as RUN_RESULT under --json', async () => {
    const running = startFlowops(['run', flow('never'), ...PLUGINS, '--json'], at(newHome()));
    await running.stdout.until('the step to run', (lines) => lines.find((line) => line.includes('"stepId":"only"')));
    running.signal('SIGINT');
    expect(await running.exited).toMatchObject({ code: 130 });
    const { events, result } = readJson(running.stdout.items);
    expect(storyOf(events)).toEqual(['RUNNING', 'only RUNNING', 'only CANCELLED', 'STOPPED']);
    expect(result).toMatchObject({ status: 'STOPPED', outputs: {} });
  });

  it('is killed by the second Ctrl-C, and leaves no process behind', async () => {
    const running = startFlowops(['run', flow('never'), ...PLUGINS], at(newHome()));
    await stderrSays(running, 'info  began');
    const started = descendantsOf(running.pid);
    running.signal('SIGINT');
    await stderrSays(running, 'Ctrl-C once more');
    running.signal('SIGINT');
    expect(await running.exited).toMatchObject({ code: 130 });
    await untilGone(started);
  });

  it('goes on in the same home beside another one', async () => {
    const home = newHome();
    const ends = await Promise.all([1, 2].map(() => run([flow('slow'), ...PLUGINS, '--json'], home)));
    for (const end of ends) {
      expect(end.code).toBe(0);
      expectTrustworthy(readJson(end.stdout).events);
    }
  });
});

describe.concurrent('a run whose process was killed', () => {
  /** Killed with some steps done. @returns the ids of those that were told as completed */
  async function killedRun(home: string, runId: string): Promise<readonly string[]> {
    const running = startFlowops(['run', flow('slow'), ...PLUGINS, '--json', '--run-id', runId], at(home));
    await running.stdout.until('the middle of the run', (lines) =>
      lines.find((line) => line.includes('"stepId":"s5"')),
    );
    const started = descendantsOf(running.pid);
    await running.kill9();
    await untilGone(started);
    return running.stdout.items
      .map((line) => statusEventSchema.parse(JSON.parse(line)))
      .flatMap((event) => (event.eventType === 'STEP_STATUS' && event.status === 'COMPLETED' ? [event.stepId] : []));
  }

  it('is finished by --resume, without running a completed step again', async () => {
    const home = newHome();
    const completed = await killedRun(home, 'resumed');
    expect(completed).toEqual(['s0', 's1', 's2', 's3', 's4']);
    const end = await run(['--resume', 'resumed', ...PLUGINS, '--json'], home);
    expect(end.code).toBe(0);
    const { events, result } = readJson(end.stdout);
    const again = events.flatMap((event) =>
      event.eventType === 'STEP_STATUS' && event.status === 'RUNNING' ? [event.stepId] : [],
    );
    expect(again.filter((stepId) => completed.includes(stepId))).toEqual([]);
    expect(result).toMatchObject({ runId: 'resumed', status: 'COMPLETED' });
    expect(Object.keys(result.outputs)).toEqual(expect.arrayContaining(CHAIN));
    expect(result.outputs.s11).toEqual({ text: `x${'.'.repeat(12)}` });

    const gone = await run(['--resume', 'resumed', ...PLUGINS], home);
    expect(gone).toMatchObject({ stdout: '' });
    expect(gone.code).not.toBe(0);
    expect(gone.stderr).toMatch(/^flowops: no run resumed was left unfinished/m);
  });

  it('is left as it is by flowops engine --embedded without a policy, which says what to set', async () => {
    const home = newHome();
    await killedRun(home, 'left');
    const end = await runFlowops(['engine', '--embedded'], at(home, { PLUGIN_DIR: PLUGIN_SOURCES }));
    expect(end.code).toBe(2);
    expect(end.stderr).toContain('set SANDBOX_POLICY to take up left');
    expect((await run(['--resume', 'left', ...PLUGINS], home)).code).toBe(0);
  });

  it('is taken up by flowops engine --embedded, which ends when it has ended', async () => {
    const home = newHome();
    await killedRun(home, 'taken-up');
    const policy = join(home, 'policy.yaml');
    writeFileSync(policy, POLICY);
    const env = { PLUGIN_DIR: PLUGIN_SOURCES, SANDBOX_POLICY: policy };
    const end = await runFlowops(['engine', '--embedded'], at(home, env));
    expect(end.code).toBe(0);
    const told = end.stderr.split('\n').find((line) => line.includes('an interrupted run has ended'));
    expect(JSON.parse(told ?? '{}')).toMatchObject({ runId: 'taken-up', status: 'COMPLETED', error: null });
  });
});

describe.concurrent('flowops validate', () => {
  it('says that a flow is valid, and runs nothing of it', async () => {
    const end = await runFlowops(['validate', flow('throws'), ...PLUGINS], at(newHome()));
    expect(end).toMatchObject({ code: 0, stdout: `${flow('throws')}: valid` });
  });

  it('names all problems at once, as text and as JSON', async () => {
    const text = await runFlowops(['validate', flow('wrong'), ...PLUGINS], at(newHome()));
    const json = await runFlowops(['validate', flow('wrong'), ...PLUGINS, '--json'], at(newHome()));
    expect([text.code, json.code]).toEqual([1, 1]);
    const report = reportSchema.parse(JSON.parse(json.stdout));
    expect(report).toMatchObject({ valid: false, warnings: [] });
    for (const part of [
      /cycle: (a → b → a|b → a → b)/,
      /step b: input ms must be integer, not "soon"/,
      /step c: .*test\.napp.*test\.nap/,
      /step c: .*more than once/,
      /step c: .*step d, which does not exist/,
      /steps\[4\] \(e e\): stepId/,
    ]) {
      expect(report.problems).toContainEqual(expect.stringMatching(part));
      expect(text.stdout).toMatch(part);
    }
  });
});
