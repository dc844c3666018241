import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseFlowFile } from '@flowops/proto/flow.ts';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import { registerNewCommand } from '@flowops/sdk/cli/new-command.ts';
import { ESBUILD_VERSION, TYPESCRIPT_VERSION, VITEST_VERSION } from '@flowops/sdk/cli/plugin-template.ts';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { AnsweringSandbox, completedWith } from '../../../support/answering-sandbox.ts';
import { type ProgramRun, runProgram } from '../../../support/run-program.ts';
import { sourceTree } from '../../../support/source-tree.ts';

const ROOT = new URL('../../../../', import.meta.url).pathname;

/** Without its install, which takes npm and a network: install-packages.test.ts, test/integration. */
async function pluginNew(...args: string[]): Promise<ProgramRun> {
  const file = path.join(sourceTree({ 'sdk.tgz': 'packed' }), 'sdk.tgz');
  const packedSdk = async () => ({ file, version: '0.1.0' });
  return await runProgram(
    (program: Command) => registerNewCommand(program, { packedSdk }),
    ['new', '--no-install', ...args],
  );
}

describe('plugin new', () => {
  it.each([
    ['a class', ['--style', 'class'], 'ts'],
    ['a function', ['--style', 'function'], 'ts'],
    ['plain JavaScript', ['--js'], 'js'],
  ])('writes %s that builds at once, with a test, a flow and a package.json', async (_what, args, extension) => {
    const folder = path.join(sourceTree({}), 'greet');
    expect((await pluginNew('acme.greet', ...args, '--dir', folder)).thrown).toBeUndefined();
    const sandbox = new AnsweringSandbox((text) => {
      expect(text).toContain('acme.greet');
      return completedWith({ name: 'acme.greet', version: '1.0.0' });
    });
    expect(await buildPlugin(folder, { sandbox: sandbox.open })).toMatchObject({ ok: true });
    const files = readdirSync(folder);
    expect(files).toEqual(expect.arrayContaining([`plugin.test.${extension}`, 'flow.yaml', 'README.md', '.gitignore']));
    expect(files.includes('tsconfig.json')).toBe(extension === 'ts');
    const { name, main, scripts, devDependencies } = JSON.parse(
      readFileSync(path.join(folder, 'package.json'), 'utf8'),
    );
    expect({ name, main, test: scripts.test }).toEqual({
      name: 'acme.greet',
      main: `plugin.${extension}`,
      test: 'vitest run',
    });
    const sdk = devDependencies['@flowops/sdk'].replace('file:', '');
    expect(readFileSync(path.join(folder, sdk), 'utf8')).toBe('packed');
  });

  it('writes a flow that is one, under the schema that its first line names', async () => {
    const folder = path.join(sourceTree({}), 'greet');
    await pluginNew('acme.greet', '--dir', folder);
    const text = readFileSync(path.join(folder, 'flow.yaml'), 'utf8');
    const flow: unknown = parseYaml(text);
    expect(parseFlowFile(flow)).toMatchObject({ ok: true, flow: { flowId: 'acme.greet' } });
    const [, schema = ''] = /^# yaml-language-server: \$schema=(.*)$/m.exec(text) ?? [];
    const judge = z.fromJSONSchema(JSON.parse(readFileSync(path.join(folder, schema), 'utf8')));
    expect(judge.safeParse(flow).success).toBe(true);
    expect(judge.safeParse({ flowId: 'x', steps: [{ stepId: 'a', plugin: 'b' }] }).success).toBe(false);
  });

  it('names the releases of vitest, esbuild and TypeScript that its own tests run on', () => {
    const dependencies = ['package.json', 'sdk/package.json'].flatMap((file) => {
      const { dependencies, devDependencies } = JSON.parse(readFileSync(path.join(ROOT, file), 'utf8'));
      return Object.entries({ ...dependencies, ...devDependencies });
    });
    expect(Object.fromEntries(dependencies)).toMatchObject({
      vitest: VITEST_VERSION,
      esbuild: ESBUILD_VERSION,
      typescript: TYPESCRIPT_VERSION,
    });
  });

  it('prints the folder as the result, and beside it what was written and what to type next', async () => {
    const folder = path.join(sourceTree({}), 'greet');
    const { stdout, stderr } = await pluginNew('greet', '--dir', folder);
    expect(stdout).toBe(`${path.relative(process.cwd(), folder)}\n`);
    expect(stderr).toMatch(/sandbox run .*greet --input name=World\n {2}cd .*greet && npm install && npm test\n/);
    for (const name of readdirSync(folder)) expect(stderr).toContain(name);
  });

  it('refuses a folder that already holds something, and leaves it as it was', async () => {
    const folder = sourceTree({ 'plugin.ts': 'mine' });
    const { thrown } = await pluginNew('greet', '--dir', folder);
    expect(thrown).toMatchObject({
      code: 'USAGE_INVALID',
      message: expect.stringContaining('already holds plugin.ts; nothing was written. Choose another name or --dir'),
    });
    expect(readdirSync(folder)).toEqual(['plugin.ts']);
    expect(readFileSync(path.join(folder, 'plugin.ts'), 'utf8')).toBe('mine');
  });

  it('refuses to write over a file of that name', async () => {
    const folder = sourceTree({ greet: 'a file' });
    const { thrown } = await pluginNew('greet', '--dir', path.join(folder, 'greet'));
    expect(thrown).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining('is a file') });
  });

  it('refuses decorators in plain JavaScript and says which of the two to leave out', async () => {
    const folder = path.join(sourceTree({}), 'new');
    const { thrown } = await pluginNew('greet', '--js', '--style', 'class', '--dir', folder);
    expect(thrown).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining('leave --js out') });
    expect(() => readdirSync(folder)).toThrow(/ENOENT/);
  });

  it.each(['Greet', '../escape', '-x', '', 'a b'])('refuses the name %j before it writes anything', async (name) => {
    const folder = path.join(sourceTree({}), 'new');
    const { thrown } = await pluginNew('--dir', folder, '--', name);
    expect(thrown).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining('is no plugin name') });
    expect(() => readdirSync(folder)).toThrow(/ENOENT/);
  });
});
