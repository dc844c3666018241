import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { digestOf } from '@flowops/proto/ids.ts';
import { buildReportSchema, inspectReportSchema, publishReportSchema } from '@flowops/sdk/cli/reports.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { sourceTree } from '../support/source-tree.ts';

const FLOWOPS = fileURLToPath(new URL('../../bin/flowops.mjs', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

function start(args: readonly string[], cwd: string): { child: ChildProcess; ended: Promise<Ended> } {
  const env = { ...process.env, FLOWOPS_HOME: path.join(cwd, '.flowops') };
  const child = spawn(process.execPath, [FLOWOPS, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  started.push(child);
  const texts = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    texts.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    texts.stderr += text;
  });
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, ...texts })));
  return { child, ended };
}

function flowops(cwd: string, ...args: string[]): Promise<Ended> {
  return start(args, cwd).ended;
}

const SHOUT = `import { defineTask } from '@flowops/sdk';
export default defineTask({
  name: 'demo.shout',
  version: '1.0.0',
  description: 'Makes text loud\\u001b[31m',
  inputs: { text: { type: 'string' } },
  outputs: { loud: { type: 'string' } },
  run: ({ inputs }) => ({ loud: inputs.text.toUpperCase() }),
});
`;

describe('flowops plugin', () => {
  it('new writes a plugin that builds, inspects and is found by its folder', async () => {
    const folder = sourceTree({});
    expect(await flowops(folder, 'plugin', 'new', 'greet', '--no-install')).toMatchObject({
      code: 0,
      stdout: 'greet\n',
    });
    const built = await flowops(folder, 'plugin', 'build', 'greet');
    expect(built).toMatchObject({ code: 0, stderr: '' });
    const [bundle = '', digest] = built.stdout.trimEnd().split('\n');
    expect(bundle).toBe('greet/dist/greet-1.0.0.js');
    expect(digest).toBe(digestOf(readFileSync(path.join(folder, bundle))));
    expect(existsSync(path.join(folder, `${bundle}.map`))).toBe(true);
    const inspected = await flowops(folder, 'plugin', 'inspect', 'greet', '--json');
    expect(inspectReportSchema.parse(JSON.parse(inspected.stdout))).toMatchObject({
      digest,
      manifest: { name: 'greet', version: '1.0.0' },
    });
  });

  it('build --json prints one object, the same digest wherever the source lies', async () => {
    const folder = sourceTree({ 'a/shout.ts': SHOUT, 'b/c/shout.ts': SHOUT });
    const first = await flowops(folder, 'plugin', 'build', 'a/shout.ts', '--out', 'out/first.js', '--json');
    const second = await flowops(folder, 'plugin', 'build', 'b/c', '--out', 'out/second.js', '--json');
    expect(first.code).toBe(0);
    const one = buildReportSchema.parse(JSON.parse(first.stdout));
    const two = buildReportSchema.parse(JSON.parse(second.stdout));
    expect(one).toMatchObject({ bundle: 'out/first.js', manifest: { name: 'demo.shout' } });
    expect(two).toMatchObject({ bundle: 'out/second.js', digest: one.digest });
    expect(digestOf(readFileSync(path.join(folder, 'out/second.js')))).toBe(one.digest);
  });

  it('inspect shows what would steer the terminal, and of a bundle runs nothing', async () => {
    const folder = sourceTree({
      'shout.ts': SHOUT,
      'bundle.js': '//! flowops-plugin {"name":"demo.trap","version":"1.0.0"}\nthrow new Error("evaluated");\n',
    });
    const source = await flowops(folder, 'plugin', 'inspect', 'shout.ts');
    expect(source).toMatchObject({ code: 0 });
    expect(source.stdout).toContain('Makes text loud␛[31m');
    const bundle = await flowops(folder, 'plugin', 'inspect', 'bundle.js');
    expect(bundle).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('demo.trap 1.0.0') });
  });

  it('tells a broken plugin with exit code 1 and a wrong call with 2, as JSON when asked', async () => {
    const folder = sourceTree({ 'pg.ts': "import fs from 'fs';\nexport default fs;" });
    const broken = await flowops(folder, 'plugin', 'build', 'pg.ts');
    expect(broken).toMatchObject({ code: 1, stdout: '' });
    expect(broken.stderr).toBe(
      'flowops: node:fs ← pg.ts:1. Use another package, or set runtime: "node" (container tier only).\n' +
        "  1 | import fs from 'fs';\n    |                ^\n  2 | export default fs;\n",
    );
    const missing = await flowops(folder, 'plugin', 'build', 'gone.ts', '--json');
    expect(missing).toMatchObject({ code: 2, stderr: '' });
    expect(JSON.parse(missing.stdout)).toMatchObject({ error: { code: 'USAGE_INVALID' } });
    const repeated = await flowops(folder, 'plugin', 'new', '.');
    expect(repeated).toMatchObject({ code: 2, stdout: '' });
  });

  it('publishes to a registry that SIGTERM ends cleanly', async () => {
    const folder = sourceTree({ 'shout.ts': SHOUT });
    await flowops(folder, 'plugin', 'build', 'shout.ts', '--out', 'shout.js');
    const registry = start(['registry', 'serve', '--dir', 'registry', '--port', '0'], folder);
    if (registry.child.stdout === null) throw new Error('stdout is a pipe');
    const lines = createInterface(registry.child.stdout);
    const address = await new Promise<string>((resolve) =>
      lines.once('line', (line) => resolve(/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? line)),
    );
    const publish = (...more: string[]) =>
      flowops(folder, 'plugin', 'publish', 'shout.js', '--registry', address, ...more);
    const published = await publish('--json');
    expect(published).toMatchObject({ code: 0 });
    expect(publishReportSchema.parse(JSON.parse(published.stdout))).toMatchObject({
      pluginId: 'demo.shout',
      version: '1.0.0',
    });
    expect(readFileSync(path.join(folder, 'registry/demo.shout/1.0.0.js'))).toEqual(
      readFileSync(path.join(folder, 'shout.js')),
    );
    expect(existsSync(path.join(folder, 'registry/demo.shout/1.0.0.js.map'))).toBe(true);
    expect(await publish('--id', '0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01')).toMatchObject({ code: 0 });
    registry.child.kill('SIGTERM');
    expect(await registry.ended).toMatchObject({ code: 0 });
    expect(await publish()).toMatchObject({ code: 3, stderr: expect.stringContaining(address) });
  });
});
