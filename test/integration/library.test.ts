/** The engine as a library with a real sandbox: what a program is told when it cannot start, and what it is given. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  createEngine,
  type EngineOptions,
  type Flow,
  type FlowEngine,
  readFlow,
  type StepLogLine,
} from '../../bin/library.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { SILENT } from '../support/run-bench.ts';

const GREET = `import { defineTask } from '@flowops/sdk';
export default defineTask({
  name: 'my.greet',
  version: '1.0.0',
  permissions: { secrets: ['GREETING'] },
  inputs: { who: { type: 'string' } },
  outputs: { text: { type: 'string' } },
  async run({ inputs, logger, context }) {
    logger.info('greeting', { who: inputs.who });
    context.progress(0.5, 'half');
    const { length } = await context.secret('GREETING'); // itself it would be taken out of the outputs
    return { text: inputs.who + ' was told ' + length };
  },
});
`;
const FLOW: Flow = {
  flowId: 'greetings',
  inputs: { name: { type: 'string', default: 'you' } },
  steps: [{ stepId: 'greet', pluginId: 'my.greet', inputs: { who: '${flow.input.name}' } }],
};

let folder: string;
let homes = 0;
const engines: FlowEngine[] = [];
beforeAll(() => {
  folder = scratchFolder();
  mkdirSync(join(folder, 'plugins'));
  writeFileSync(join(folder, 'plugins', 'greet.js'), GREET);
  writeFileSync(join(folder, 'policy.yaml'), 'version: 1\nrules: [{ match: { plugin: "my.*" }, teir: isolate }]\n');
  writeFileSync(join(folder, 'no-folder'), '');
  writeFileSync(join(folder, 'flow.yaml'), 'flowId: f\nsteps:\n  - { stepId: a b, pluginId: x }\nstpes: []\n');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const engine of engines.splice(0)) await engine.close();
});
afterAll(() => removeFolder(folder));

async function open(options: Partial<EngineOptions> = {}): Promise<FlowEngine> {
  const home = join(folder, `home-${homes++}`);
  const plugins = join(folder, 'plugins');
  const engine = await createEngine({ home, plugins, policy: 'developer', log: SILENT, ...options });
  engines.push(engine);
  return engine;
}

const codeOf = (code: string, says: RegExp) =>
  expect.objectContaining({ name: 'FlowopsError', code, message: expect.stringMatching(says) });

describe('an engine in a program', () => {
  it('runs a flow with its own secrets, and tells what plugins log and how far they are', async () => {
    const lines: StepLogLine[] = [];
    const progress: unknown[] = [];
    const engine = await open({
      secrets: { GREETING: 'Good morning' },
      onStepLog: (line) => lines.push(line),
      onStepProgress: (told) => progress.push(told),
    });
    const run = await engine.start(FLOW, { runId: 'r', inputs: { name: 'Ada' } });
    expect(await run.result()).toEqual({
      ...{ runId: 'r', status: 'COMPLETED', error: null, code: null },
      outputs: { greet: { text: 'Ada was told 12' } },
    });
    const of = { flowId: 'greetings', runId: 'r', stepId: 'greet' };
    expect(lines).toEqual([
      { ...of, level: 'info', message: 'greeting', fields: { who: 'Ada' }, timeMs: expect.any(Number) },
    ]);
    expect(progress).toEqual([{ ...of, fraction: 0.5, message: 'half' }]);
  });

  it('does not take the settings of the program’s environment for its own', async () => {
    vi.stubEnv('LOG_LEVEL', 'verbose');
    vi.stubEnv('SANDBOX_POLICY', join(folder, 'policy.yaml'));
    vi.stubEnv('SANDBOX_WORKERS', 'many');
    const engine = await open({ secrets: { GREETING: 'Good day' } });
    expect((await (await engine.start(FLOW)).result()).outputs).toEqual({ greet: { text: 'you was told 8' } });
  });

  it('is one of several in one process, each with its home', async () => {
    const made = await Promise.all(['One by one', 'Two'].map((GREETING) => open({ secrets: { GREETING } })));
    const runs = await Promise.all(made.map((engine) => engine.start(FLOW, { runId: 'same' })));
    const results = await Promise.all(runs.map((run) => run.result()));
    expect(results.map(({ outputs }) => outputs.greet?.text)).toEqual(['you was told 10', 'you was told 3']);
  });

  it('is strict without a policy: an unsigned plugin gets no isolate and no secret', async () => {
    const home = join(folder, `home-${homes++}`);
    const engine = await createEngine({
      ...{ home, plugins: join(folder, 'plugins'), log: SILENT, secrets: { GREETING: 'no' } },
      settings: { SANDBOX_IMAGE: 'nobody/has-this:image' },
    });
    engines.push(engine);
    const result = await (await engine.start(FLOW)).result();
    expect(result.status).toBe('FAILED');
    expect(['POLICY_DENIED', 'SANDBOX_UNAVAILABLE']).toContain(result.code);
  });
});

describe('a start that cannot be', () => {
  it.each<{ what: string; options: () => Partial<EngineOptions>; code: string; says: RegExp }>([
    {
      what: 'a plugin folder that is not there',
      options: () => ({ plugins: join(folder, 'nowhere') }),
      ...{ code: 'CONFIG_INVALID', says: /nowhere does not exist/ },
    },
    {
      what: 'a registry without a port',
      options: () => ({ plugins: { registry: 'http://registry' } }),
      ...{ code: 'CONFIG_INVALID', says: /plugins\.registry must be host:port, not "http:\/\/registry"/ },
    },
    {
      what: 'a policy that is wrong',
      options: () => ({ policy: join(folder, 'policy.yaml') }),
      ...{ code: 'CONFIG_INVALID', says: /policy\.yaml:2.*teir/s },
    },
    {
      what: 'a policy that is not there',
      options: () => ({ policy: join(folder, 'nowhere.yaml') }),
      ...{ code: 'CONFIG_INVALID', says: /nowhere\.yaml/ },
    },
    {
      what: 'a home that is a file',
      options: () => ({ home: join(folder, 'no-folder') }),
      ...{ code: 'CONFIG_INVALID', says: /no-folder/ },
    },
    {
      what: 'a setting that is none',
      options: () => ({ settings: { SANDBOX_WORKERS: 0 } }),
      ...{ code: 'CONFIG_INVALID', says: /settings\.SANDBOX_WORKERS must be/ },
    },
    {
      what: 'a secret with a name that cannot be',
      options: () => ({ secrets: { '../x': 'hidden' } }),
      ...{ code: 'CONFIG_INVALID', says: /^secrets: "\.\.\/x" is no name of a secret$/ },
    },
  ])('$what is told with what to change', async ({ options, code, says }) => {
    await expect(open(options())).rejects.toEqual(codeOf(code, says));
  });

  it('a flow file is told with all that is wrong with it', async () => {
    const file = join(folder, 'flow.yaml');
    await expect(readFlow(file)).rejects.toEqual(
      codeOf('FLOW_INVALID', /stpes: unknown key.*steps\[0\] \(a b\): stepId/s),
    );
    await expect(readFlow(join(folder, 'none.yaml'))).rejects.toEqual(
      codeOf('USAGE_INVALID', /none\.yaml cannot be read/),
    );
  });
});
