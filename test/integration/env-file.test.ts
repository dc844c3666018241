/** Secrets of an --env-file, from the command line to a plugin and nowhere else: the real program, the real sandbox. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { runReportSchema } from '@flowops/sandbox/cli/reports.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canary } from '../support/host-call-client.ts';
import { localServers } from '../support/http-servers.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SECRET = canary();
const servers = localServers();
let folder: string;
let place = '';

/** A plugin that shows a server its secret, and one that tells everybody. */
const SOURCES = {
  sends: (server: string) => `
    permissions: { net: ['private:${server}'], secrets: ['TOKEN'] },
    outputs: { status: { type: 'integer' }, text: { type: 'string' } },
    async run({ context }) {
      const token = await context.secret('TOKEN');
      const response = await context.fetch('http://${server}/x', { headers: { authorization: 'Bearer ' + token } });
      return { status: response.status, text: await response.text() };
    },`,
  tells: () => `
    permissions: { net: [], secrets: ['TOKEN'] },
    outputs: { token: { type: 'string' } },
    async run({ context, logger }) {
      const token = await context.secret('TOKEN');
      logger.info('the token is ' + token, { token });
      context.progress(0.5, token);
      return { token };
    },`,
  misses: () => `
    permissions: { net: [], secrets: ['GONE'] },
    async run({ context }) { await context.secret('GONE'); },`,
};

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [path.join(ROOT, 'bin/flowops.mjs'), ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, FLOWOPS_HOME: path.join(folder, 'home'), NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('no pipes');
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  const ended = Promise.all([exit, text(stdout), text(stderr)]);
  return { child, ended: ended.then(([exitCode, out, err]) => ({ exitCode, stdout: out, stderr: err })) };
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'env-file-'));
  const server = await servers.http(({ headers }, response) => {
    response.end(headers.authorization === `Bearer ${SECRET}` ? 'welcome' : 'who are you');
  });
  place = server.place;
  await mkdir(path.join(folder, 'plugins'));
  await writeFile(path.join(folder, 'secrets.env'), `# development only\nTOKEN="${SECRET}"\n`);
  for (const [name, source] of Object.entries(SOURCES)) {
    const head = `import { defineTask } from '@flowops/sdk';\n\nexport default defineTask({\n  name: 'test.${name}',\n`;
    await writeFile(path.join(folder, 'plugins', `${name}.ts`), `${head}  version: '1.0.0',${source(place)}\n});\n`);
  }
  await writeFile(path.join(folder, 'flow.yaml'), 'flowId: f\nsteps: [{ stepId: s, pluginId: test.sends }]\n');
});
afterAll(() => rm(folder, { recursive: true }));

function filesWith(needle: string, at: string): string[] {
  return readdirSync(at, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(needle));
}

describe('--env-file of `sandbox run`', () => {
  it('gives a plugin the secrets its manifest asks for, and its receipt names them', async () => {
    const { exitCode, stdout } = await start(
      'sandbox',
      'run',
      'plugins/sends.ts',
      '--env-file',
      'secrets.env',
      '--json',
    ).ended;
    const report = runReportSchema.parse(JSON.parse(stdout));
    expect(report).toMatchObject({ status: 'COMPLETED', outputs: { status: 200, text: 'welcome' } });
    expect(report.receipt).toMatchObject({
      secrets: ['TOKEN'],
      hostCalls: 2,
      net: [{ host: place, calls: 1, bytesOut: expect.any(Number), bytesIn: expect.any(Number) }],
    });
    expect(exitCode).toBe(0);
  });

  it('shows its values nowhere, whatever the plugin does with them', async () => {
    const { stdout, stderr } = await start('sandbox', 'run', 'plugins/tells.ts', '--env-file', 'secrets.env').ended;
    expect(stdout).toContain('token = "***"');
    expect(stderr).toContain('the token is ***');
    expect(stderr).toContain('a secret was taken out of the outputs');
    expect(stdout + stderr).not.toContain(SECRET);
  });

  it('says which line a file lacks', async () => {
    const { exitCode, stderr } = await start('sandbox', 'run', 'plugins/misses.ts', '--env-file', 'secrets.env').ended;
    expect(stderr).toMatch(
      /POLICY_DENIED: test.misses was granted the secret GONE, but the --env-file has no value for it; add a line GONE=…/,
    );
    expect(exitCode).toBe(1);
  });

  it('is missed where a secret is asked for and nothing gives it', async () => {
    const { stderr } = await start('sandbox', 'run', 'plugins/tells.ts').ended;
    expect(stderr).toMatch(/POLICY_DENIED: .* this sandbox has no secrets: set SECRETS_DIR, or give --env-file FILE/);
  });
});

describe('--env-file of `run`', () => {
  it('reaches the steps of a flow, and is in no file that is kept', async () => {
    const args = ['run', 'flow.yaml', '--plugins', 'plugins', '--env-file', 'secrets.env', '--json'];
    const { stdout, stderr, exitCode } = await start(...args).ended;
    expect(stdout).toContain('"text":"welcome"');
    expect(exitCode).toBe(0);
    expect(stdout + stderr).not.toContain(SECRET);
    expect(filesWith(SECRET, folder)).toEqual([path.join(folder, 'secrets.env')]);
  });
});

it.runIf(process.platform === 'linux')('no process has a secret in its arguments or environment', async () => {
  const { child, ended } = start('sandbox', 'run', 'plugins/sends.ts', '--env-file', 'secrets.env');
  const seen = new Set<string>();
  const look = setInterval(() => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const [args, env] = ['cmdline', 'environ'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'latin1'));
        if (args?.includes('sandbox/main')) seen.add('host');
        if (`${args}${env}`.includes(SECRET)) seen.add('secret');
      } catch {
        // gone meanwhile, or somebody else's
      }
    }
  }, 20);
  expect(await ended).toMatchObject({ exitCode: 0 });
  clearInterval(look);
  expect(child.exitCode).toBe(0);
  expect([...seen]).toEqual(['host']);
});
