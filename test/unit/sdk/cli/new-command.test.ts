import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import { registerNewCommand } from '@flowops/sdk/cli/new-command.ts';
import { describe, expect, it } from 'vitest';
import { AnsweringSandbox, completedWith } from '../../../support/answering-sandbox.ts';
import { runProgram } from '../../../support/run-program.ts';
import { sourceTree } from '../../../support/source-tree.ts';

function pluginNew(...args: string[]) {
  return runProgram(registerNewCommand, ['new', ...args]);
}

describe('plugin new', () => {
  it.each(['class', 'function'])('writes a plugin in the style "%s" that builds at once', async (style) => {
    const folder = path.join(sourceTree({}), 'greet');
    const run = await pluginNew('acme.greet', '--style', style, '--dir', folder);
    expect(run.thrown).toBeUndefined();
    const sandbox = new AnsweringSandbox((text) => {
      expect(text).toContain('acme.greet');
      return completedWith({ name: 'acme.greet', version: '1.0.0' });
    });
    expect(await buildPlugin(folder, { sandbox: sandbox.open })).toMatchObject({ ok: true });
  });

  it('prints the folder as the result, and beside it what was written and what to type next', async () => {
    const folder = path.join(sourceTree({}), 'greet');
    const { stdout, stderr } = await pluginNew('greet', '--dir', folder);
    expect(stdout).toBe(`${path.relative(process.cwd(), folder)}\n`);
    expect(stderr).toMatch(/plugin build .*greet\n.*plugin inspect .*greet\n.*sandbox run .*greet --input name=/);
    for (const name of readdirSync(folder)) expect(stderr).toContain(name);
  });

  it('refuses a folder that already holds something, and leaves it as it was', async () => {
    const folder = sourceTree({ 'plugin.ts': 'mine' });
    const { thrown } = await pluginNew('greet', '--dir', folder);
    expect(thrown).toMatchObject({
      code: 'USAGE_INVALID',
      message: expect.stringContaining('already holds plugin.ts'),
    });
    expect(readdirSync(folder)).toEqual(['plugin.ts']);
    expect(readFileSync(path.join(folder, 'plugin.ts'), 'utf8')).toBe('mine');
  });

  it('refuses to write over a file of that name', async () => {
    const folder = sourceTree({ greet: 'a file' });
    const { thrown } = await pluginNew('greet', '--dir', path.join(folder, 'greet'));
    expect(thrown).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining('is a file') });
  });

  it.each(['Greet', '../escape', '-x', '', 'a b'])('refuses the name %j before it writes anything', async (name) => {
    const folder = path.join(sourceTree({}), 'new');
    const { thrown } = await pluginNew('--dir', folder, '--', name);
    expect(thrown).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining('is no plugin name') });
    expect(() => readdirSync(folder)).toThrow(/ENOENT/);
  });

  it('tells TypeScript where the SDK lies only where it would not find it', async () => {
    const outside = path.join(sourceTree({}), 'greet');
    await pluginNew('greet', '--dir', outside);
    const { paths } = JSON.parse(readFileSync(path.join(outside, 'tsconfig.json'), 'utf8')).compilerOptions;
    const [sdk] = paths['@flowops/sdk'];
    expect(readFileSync(path.resolve(outside, sdk), 'utf8')).toContain('BaseTask');
  });
});
