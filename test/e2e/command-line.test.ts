/** What holds for every command: exit codes, one clear sentence, one line of JSON, where settings come from. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { bareEnvironment, type Ended, ROOT, run } from '../support/clone.ts';

const errorLineSchema = z.strictObject({ error: z.strictObject({ code: z.string(), message: z.string() }) });
const settingsSchema = z.object({
  settings: z.array(
    z.object({ name: z.string(), value: z.string().nullable(), source: z.string(), detail: z.string().optional() }),
  ),
});

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'flowops-command-'));
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

function flowops(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const whole = { ...bareEnvironment(dirname(process.execPath)), ...env };
  return run(process.execPath, [join(ROOT, 'bin', 'flowops.mjs'), ...args], { cwd, env: whole });
}

describe('a wrong call', () => {
  it.each([
    { args: ['rum'], says: /unknown command 'rum' .*run/ },
    { args: ['plugin', 'biuld'], says: /unknown command 'biuld' .*build/ },
    { args: ['config', '--jsno'], says: /unknown option '--jsno' .*--json/ },
    { args: [], says: /no command given/ },
    { args: ['plugin'], says: /no command given/ },
    { args: ['validate'], says: /missing required argument 'flow'/ },
  ])('$args ends with 2 and one sentence', async ({ args, says }) => {
    const ended = await flowops(args);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toMatch(/^flowops: [^\n]+\n$/);
    expect(ended.stderr).toMatch(says);
  });

  it.each([
    { args: ['rum', '--json'], code: 'USAGE_INVALID' },
    { args: ['config', '--json', '--nonsense'], code: 'USAGE_INVALID' },
    { args: ['config', '--json', '--config', 'absent.yaml'], code: 'CONFIG_INVALID' },
  ])('$args prints one line of JSON and nothing else', async ({ args, code }) => {
    const ended = await flowops(args);
    expect(ended).toMatchObject({ code: 2, stderr: '' });
    expect(ended.stdout).toMatch(/^[^\n]+\n$/);
    expect(errorLineSchema.parse(JSON.parse(ended.stdout)).error.code).toBe(code);
  });
});

describe('a wrong setting', () => {
  it('ends with 2 and names every one, with the nearest name', async () => {
    writeFileSync(join(cwd, 'wrong.yaml'), 'HTTP_PROT: 1\n');
    const ended = await flowops(['config', '--config', 'wrong.yaml'], { KAFKA_BROKER: 'a:1', DRAIN_MS: 'soon' });
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain('wrong.yaml:1: unknown setting HTTP_PROT; did you mean HTTP_PORT?');
    expect(ended.stderr).toContain('unknown environment variable KAFKA_BROKER; did you mean KAFKA_BROKERS?');
    expect(ended.stderr).toContain('DRAIN_MS (environment) must be milliseconds');
  });
});

describe('flowops config', () => {
  it('prints each setting in force and where it came from, and never a secret', async () => {
    writeFileSync(join(cwd, 'flowops.yaml'), 'HTTP_PORT: 9000\n');
    const env = { REDIS_URL: 'redis://user:hunter2@localhost:6379' };
    const text = await flowops(['config', '--config', 'flowops.yaml'], env);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^HTTP_PORT +9000 +file \(flowops\.yaml:1\)$/m);
    expect(text.stdout).toMatch(/^RUN_RETENTION +7d +default$/m);

    const json = await flowops(['--config', 'flowops.yaml', 'config', '--json'], env);
    const { settings } = settingsSchema.parse(JSON.parse(json.stdout));
    expect(settings).toContainEqual({ name: 'HTTP_PORT', value: '9000', source: 'file', detail: 'flowops.yaml:1' });
    expect(settings).toContainEqual({ name: 'REDIS_URL', value: 'redis://***@localhost:6379', source: 'environment' });
    expect(text.text + json.text).not.toContain('hunter2');
  });
});

describe('help', () => {
  it('is a map of the commands on stdout, and --version one line', async () => {
    const help = await flowops(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const command of ['run', 'engine', 'validate', 'config', 'sandbox', 'plugin', 'registry']) {
      expect(help.stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    }
    const version = await flowops(['--version']);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('has no colours', async () => {
    const ended = await flowops(['--help'], { NO_COLOR: '1' });
    expect(ended.stdout).not.toContain('\u001b');
  });
});

describe('a reader that closes early', () => {
  it('is no error', () => {
    const command = `"${process.execPath}" "${join(ROOT, 'bin', 'flowops.mjs')}" config --json | head -c 10; echo " \${PIPESTATUS[0]}"`;
    const printed = execFileSync('bash', ['-c', command], { cwd, encoding: 'utf8', env: bareEnvironment('/usr/bin') });
    expect(printed).toBe('{"settings 0\n');
  });
});
