/** `flowops plugin new` with the npm of this machine, where it finds no network, and where there is no npm at all. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { sourceTree } from '../support/source-tree.ts';

const FLOWOPS = new URL('../../bin/flowops.ts', import.meta.url).pathname;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function flowops(cwd: string, env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, ['--', FLOWOPS, ...args], {
    cwd,
    env: { HOME: cwd, FLOWOPS_HOME: path.join(cwd, '.flowops'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text;
    });
  }
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, ...said })));
}

/** A port on which nobody listens: it was just given back. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('it listened on a port');
  return address.port;
}

const PATH = process.env.PATH ?? '';
const LATER = 'The plugin is there and runs without it; its test needs it. Later: cd greet && npm install\n';

describe('plugin new', () => {
  it('without a network leaves a plugin that runs, and says what to type later', async () => {
    const folder = sourceTree({});
    const offline = { npm_config_registry: `http://127.0.0.1:${await deadPort()}/`, npm_config_cache: `${folder}/npm` };
    const made = await flowops(folder, { PATH, ...offline }, 'plugin', 'new', 'greet');
    expect(made).toMatchObject({ code: 3, stdout: 'greet\n' });
    expect(made.stderr).toMatch(/npm could not install:\n {2}.*ECONNREFUSED/);
    expect(made.stderr).toContain(LATER);
    expect(made.stderr).toMatch(
      /flowops sandbox run greet --input name=World\n {2}cd greet && npm install && npm test\n/,
    );
    expect(existsSync(path.join(folder, 'greet/plugin.ts'))).toBe(true);
    const ran = await flowops(folder, { PATH, ...offline }, 'sandbox', 'run', 'greet', '--input', 'name=World');
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(/^message = "Hello, World!"\n/);
    const flow = await flowops(folder, { PATH }, 'run', 'greet/flow.yaml', '--input', 'who=Ada');
    expect(flow).toMatchObject({ code: 0, stdout: 'greet.message = "Hello, Ada!"\n' });
  });

  it('without npm says that it was not found, and does the rest', async () => {
    const folder = sourceTree({});
    const made = await flowops(folder, { PATH: path.dirname(FLOWOPS) }, 'plugin', 'new', 'greet', '--js');
    expect(made).toMatchObject({ code: 3, stdout: 'greet\n' });
    expect(made.stderr).toContain(`npm was not found in PATH, so nothing was installed. ${LATER}`);
    expect(existsSync(path.join(folder, 'greet/plugin.js'))).toBe(true);
  });
});
