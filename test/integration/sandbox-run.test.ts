/** `flowops sandbox run` and `flowops policy` as a person starts them: the real program, the real sandbox. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { policyCheckReportSchema, policyExplainReportSchema, runReportSchema } from '@flowops/sandbox/cli/reports.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;

/** `run()` of each plugin; the rest of the file is the same. */
const PLUGINS = {
  hello: `
    inputs: { name: { type: 'string' }, times: { type: 'integer', default: 1 } },
    outputs: { message: { type: 'string' } },
    run({ inputs, logger, context }) {
      logger.info('saying hello', { to: inputs.name });
      context.progress(1, 'said');
      return { message: ('hello ' + inputs.name + ' ').repeat(inputs.times).trim() };
    },`,
  throws: `
    run() {
      const order = undefined as unknown as { id: string };
      return { id: order.id };
    },`,
  spins: `
    run() { for (;;); },`,
  shouts: `
    outputs: { text: { type: 'string' } },
    run({ logger }) {
      logger.warn('\\u001b[2Jgone\\r\\u202e', { '\\u001b]52;c;eA==\\u0007': '\\u009b1m' });
      return { text: '\\u001b[31mred' };
    },`,
  waits: `
    async run({ context, logger }) {
      logger.info('waiting');
      await new Promise<void>((resolve) => context.signal.addEventListener('abort', () => resolve()));
      logger.info('was told to stop');
    },`,
  stays: `
    async run({ logger }) {
      logger.info('waiting');
      await new Promise(() => {});
    },`,
  reaches: `
    outputs: { status: { type: 'integer' } },
    async run() {
      return { status: (await fetch('https://example.com/')).status };
    },`,
  asks: `
    permissions: { net: ['slack.com:443'], secrets: [] },
    outputs: { done: { type: 'boolean' } },
    run() { return { done: true }; },`,
} as const;

let folder: string;
const plugin = (name: keyof typeof PLUGINS) => join(folder, 'plugins', `${name}.ts`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sandbox-run-'));
  await mkdir(join(folder, 'plugins'));
  await writeFile(join(folder, 'secrets.env'), 'TOKEN=x\n');
  for (const [name, body] of Object.entries(PLUGINS)) {
    const source = `import { defineTask } from '@flowops/sdk';\n\nexport default defineTask({\n  name: 'test.${name}',\n  version: '1.0.0',${body}\n});\n`;
    await writeFile(join(folder, 'plugins', `${name}.ts`), source);
  }
});
afterAll(() => rm(folder, { recursive: true }));

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(
  args: readonly string[],
  env: Record<string, string> = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, ['--', join(ROOT, 'bin/flowops.ts'), ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', FLOWOPS_HOME: join(folder, 'home'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exit = new Promise<number | null>((resolve) => child.on('close', resolve));
  const ended = Promise.all([exit, text(child.stdout), text(child.stderr)]).then(([exitCode, stdout, stderr]) => ({
    exitCode,
    stdout,
    stderr,
  }));
  return { child, ended };
}

const flowops = (...args: string[]) => start(args).ended;

async function policyFile(name: string, yaml: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, yaml);
  return file;
}

/** Resolves when the program has written the words to stderr. */
function said(child: ChildProcess, words: string): Promise<void> {
  return new Promise((resolve) => {
    let seen = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
      if (seen.includes(words)) resolve();
    });
  });
}

describe('a plugin that works', () => {
  test('prints outputs and receipt on stdout, policy, log and progress on stderr', async () => {
    const { exitCode, stdout, stderr } = await flowops(
      'sandbox',
      'run',
      plugin('hello'),
      '--input',
      'name=Ada',
      '--input',
      'times=2',
    );
    expect(stderr).toMatch(/^developer policy .*\n {2}isolate tier, 128 MB/);
    expect(stderr).toMatch(/\d\d:\d\d:\d\d\.\d{3} info {2}saying hello {2}to=Ada\n/);
    expect(stderr).toContain('100 %  said');
    expect(stdout).toMatch(/^message = "hello Ada hello Ada"\n\nreceipt\n {2}ran in {6}isolate tier, .*isolated-vm 7/);
    expect(stdout).toMatch(/by {10}developer policy, policy sha256:[0-9a-f]{12}\n/);
    expect(exitCode).toBe(0);
  });

  test('with --json prints one object that fits its schema, and nothing else on stdout', async () => {
    const { exitCode, stdout } = await flowops('sandbox', 'run', plugin('hello'), '--input', 'name=007', '--json');
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const report = runReportSchema.parse(JSON.parse(stdout));
    expect(report).toMatchObject({
      status: 'COMPLETED',
      code: null,
      error: null,
      outputs: { message: 'hello 007' },
      logs: [{ level: 'info', message: 'saying hello', fields: { to: '007' } }],
      receipt: { tier: 'isolate', rule: 'developer policy', limits: { memoryMb: 128, wallMs: 30_000 } },
    });
    expect(exitCode).toBe(0);
  });

  test('runs under a policy file with its limits, and the receipt names the rule', async () => {
    const policy = await policyFile(
      'isolate.yaml',
      'version: 1\nrules:\n  - match: { plugin: "test.*", unsigned: true }\n    tier: isolate\n    limits: { memoryMb: 48 }\n    jail: none\n',
    );
    const { stdout, stderr } = await flowops(
      'sandbox',
      'run',
      plugin('hello'),
      '--input',
      'name=x',
      '--policy',
      policy,
      '--json',
    );
    expect(runReportSchema.parse(JSON.parse(stdout)).receipt).toMatchObject({
      rule: 'rule 1 (isolate.yaml:3)',
      limits: { memoryMb: 48 },
    });
    expect(stderr).not.toContain('developer policy');
  });

  test('that asks for network runs under the developer policy, which says what it grants', async () => {
    const { exitCode, stderr } = await flowops('sandbox', 'run', plugin('asks'));
    expect(stderr).toContain('slack.com:443');
    expect(exitCode).toBe(0);
  });
});

describe('a plugin that fails', () => {
  test('shows the line of its own source that threw', async () => {
    const { exitCode, stdout, stderr } = await flowops('sandbox', 'run', plugin('throws'));
    expect(stderr).toContain('failed: PLUGIN_ERROR: ');
    expect(stderr).toContain('plugins/throws.ts:8:');
    expect(stderr).toContain('return { id: order.id };');
    expect(stderr).not.toContain('sandbox/isolate');
    expect(stdout).toContain('receipt\n');
    expect(exitCode).toBe(1);
  });

  test('at its wall limit ends with LIMIT_WALL by the rule that set it', async () => {
    const policy = await policyFile(
      'short.yaml',
      'version: 1\nrules:\n  - match: { unsigned: true }\n    tier: isolate\n    limits: { wallMs: 300 }\n    jail: none\n',
    );
    const { exitCode, stdout } = await flowops('sandbox', 'run', plugin('spins'), '--policy', policy, '--json');
    expect(runReportSchema.parse(JSON.parse(stdout))).toMatchObject({
      status: 'FAILED',
      code: 'LIMIT_WALL',
      outputs: {},
    });
    expect(exitCode).toBe(1);
  });

  test('by text that steers terminals is shown, not obeyed', async () => {
    for (const more of [[], ['--json']]) {
      const { stdout, stderr } = await flowops('sandbox', 'run', plugin('shouts'), ...more);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
      expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    }
  });

  test('to get its inputs is told all that is wrong with them, and nothing runs', async () => {
    const { exitCode, stdout } = await flowops(
      'sandbox',
      'run',
      plugin('hello'),
      '--input',
      'nmae=x',
      '--input',
      'times=two',
      '--json',
    );
    expect(runReportSchema.parse(JSON.parse(stdout))).toMatchObject({
      status: 'FAILED',
      code: 'INPUT_INVALID',
      error:
        'the plugin has no input nmae; did you mean name?\ninput times must be a whole number, but is "two"\n' +
        'input name (string) is required; give it with --input name=…',
      receipt: null,
    });
    expect(exitCode).toBe(1);
  });
});

describe('a policy', () => {
  test('that sends the plugin to the container tier fails the run as infrastructure that is not there', async () => {
    const policy = await policyFile('strict.yaml', 'version: 1\n');
    const { exitCode, stdout } = await flowops(
      'sandbox',
      'run',
      plugin('hello'),
      '--input',
      'name=x',
      '--policy',
      policy,
      '--json',
    );
    const report = runReportSchema.parse(JSON.parse(stdout));
    expect(report).toMatchObject({ status: 'FAILED', code: 'SANDBOX_UNAVAILABLE' });
    expect(report.error).toContain('container');
    expect(exitCode).toBe(3);
  });

  test('that grants nothing is told with the rule to add, and the plugin runs with that', async () => {
    const policy = await policyFile(
      'bare.yaml',
      'version: 1\nrules:\n  - match: { plugin: "test.*", unsigned: true }\n    tier: isolate\n    jail: none\n',
    );
    const refused = await flowops('sandbox', 'run', plugin('asks'), '--policy', policy);
    expect(refused.exitCode).toBe(1);
    const [, grants] =
      /POLICY_DENIED: test\.asks asked for slack\.com:443; .* To allow: (grants: \{ .* \})$/m.exec(refused.stderr) ??
      [];
    expect(grants).toBe('grants: { net: ["slack.com:443"] }');
    await policyFile(
      'bare.yaml',
      `version: 1\nrules:\n  - match: { plugin: "test.*", unsigned: true }\n    tier: isolate\n    jail: none\n    ${grants}\n`,
    );
    const allowed = await flowops('sandbox', 'run', plugin('asks'), '--policy', policy);
    expect(allowed.exitCode).toBe(0);
    expect(allowed.stdout).toContain('done = true');
  });

  test('of the developer is told with the line to add to the plugin', async () => {
    const { exitCode, stderr } = await flowops('sandbox', 'run', plugin('reaches'));
    expect(stderr).toContain(
      'POLICY_DENIED: test.reaches asked for example.com:443; developer policy grants no network. ' +
        'To allow, in the plugin: permissions: { net: ["example.com:443"] }',
    );
    expect(stderr).toContain("return { status: (await fetch('https://example.com/')).status };");
    expect(exitCode).toBe(1);
  });

  test('that denies the plugin says why, with its line', async () => {
    const policy = await policyFile(
      'deny.yaml',
      'version: 1\nrules:\n  - match: { plugin: "test.*" }\n    deny: "retired"\n',
    );
    const { exitCode, stderr } = await flowops(
      'sandbox',
      'run',
      plugin('hello'),
      '--input',
      'name=x',
      '--policy',
      policy,
    );
    expect(stderr).toContain('failed: POLICY_DENIED: test.hello 1.0.0 is denied by rule 1 (deny.yaml:3): retired');
    expect(exitCode).toBe(1);
  });

  test('with mistakes is a wrong call that names each of them', async () => {
    const policy = await policyFile('wrong.yaml', 'version: 1\nrulez: []\ndefaults: { tier: vm }\n');
    const run = await flowops('sandbox', 'run', plugin('hello'), '--policy', policy, '--json');
    expect(JSON.parse(run.stdout)).toEqual({
      error: {
        code: 'CONFIG_INVALID',
        message: `${policy}:2: rulez: unknown key; did you mean rules?\n${policy}:3: defaults.tier: must be isolate or container`,
      },
    });
    expect(run.exitCode).toBe(2);

    const check = await flowops('policy', 'check', policy, '--json');
    expect(policyCheckReportSchema.parse(JSON.parse(check.stdout))).toMatchObject({
      ok: false,
      policyHash: null,
      problems: [
        { file: policy, line: 2, key: 'rulez' },
        { file: policy, line: 3, key: 'defaults.tier' },
      ],
    });
    expect(check.exitCode).toBe(2);
  });

  test('that is right is said to be', async () => {
    const policy = await policyFile('right.yaml', 'version: 1\nrules:\n  - match: {}\n    tier: container\n');
    const { exitCode, stdout } = await flowops('policy', 'check', policy);
    expect(stdout).toMatch(/right.yaml is valid: 1 rule, 0 tests passed, sha256:[0-9a-f]{64}\n$/);
    expect(exitCode).toBe(0);
  });

  test('explains what it decides about a plugin, as a rule to paste', async () => {
    const { exitCode, stdout } = await flowops('policy', 'explain', plugin('hello'));
    expect(stdout).toMatch(/^test.hello 1.0.0, published as test.hello, unsigned\n {2}sha256:/);
    expect(stdout).toContain('decided by defaults\n  no rule matches: the defaults decide\n');
    expect(stdout).toMatch(
      / {2}- match: { plugin: "test.hello", digest: "sha256:[0-9a-f]{64}" }\n {4}tier: container\n/,
    );
    expect(exitCode).toBe(0);

    const json = await flowops('policy', 'explain', plugin('asks'), '--json');
    expect(policyExplainReportSchema.parse(JSON.parse(json.stdout))).toMatchObject({
      plugin: { pluginId: 'test.asks', name: 'test.asks', version: '1.0.0' },
      decision: { kind: 'refuse', code: 'POLICY_DENIED' },
    });
    expect(json.exitCode).toBe(1);
  });
});

describe('a wrong call', () => {
  test.each([
    [['--env-file', 'gone.env'], 'USAGE_INVALID', /^--env-file gone.env cannot be read/],
    [['--input', 'name'], 'USAGE_INVALID', /^--input name: write it as name=value/],
    [['--tier', 'vm'], 'USAGE_INVALID', /isolate, container/],
    [['--policy', 'gone.yaml'], 'CONFIG_INVALID', /gone.yaml: there is no such file/],
  ])('%j ends with 2 and is the only line under --json', async (args, code, message) => {
    const { exitCode, stdout } = await flowops('sandbox', 'run', plugin('hello'), ...args, '--json');
    expect(JSON.parse(stdout)).toEqual({ error: { code, message: expect.stringMatching(message) } });
    expect(exitCode).toBe(2);
  });
});

describe('Ctrl-C', () => {
  test('lets the plugin stop, keeps what it logged, and ends with 130', async () => {
    const { child, ended } = start(['sandbox', 'run', plugin('waits'), '--json']);
    await said(child, 'info  waiting');
    child.kill('SIGINT');
    const { exitCode, stdout, stderr } = await ended;
    expect(stderr).toContain('was told to stop');
    expect(runReportSchema.parse(JSON.parse(stdout))).toMatchObject({ status: 'FAILED', code: 'CANCELLED' });
    expect(exitCode).toBe(130);
  });

  test('once more kills a plugin that does not stop, long before its grace is over', async () => {
    const { child, ended } = start(['sandbox', 'run', plugin('stays')], { STOP_GRACE_MS: '600000' });
    await said(child, 'info  waiting');
    child.kill('SIGINT');
    await said(child, 'stopping');
    child.kill('SIGINT');
    expect((await ended).exitCode).toBe(130);
  });
});
