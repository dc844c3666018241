import path from 'node:path';
import { registerPublishCommand } from '@flowops/sdk/cli/publish-command.ts';
import { registerServeCommand } from '@flowops/sdk/cli/serve-command.ts';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../support/run-program.ts';
import { sourceTree } from '../../../support/source-tree.ts';

function publish(...args: string[]) {
  return runProgram(registerPublishCommand, ['publish', ...args]);
}

describe('plugin publish', () => {
  it('wants the address of a registry', async () => {
    expect((await publish('a.js')).thrown).toMatchObject({ message: expect.stringContaining('--registry') });
  });

  it('tells a bundle that is not there as a wrong call', async () => {
    const { thrown } = await publish('/nonexistent/a.js', '--registry', '127.0.0.1:9091');
    expect(thrown).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining('plugin build') });
  });

  it('tells a source as no bundle, before it calls anybody', async () => {
    const folder = sourceTree({ 'source.ts': 'export default {};' });
    const { thrown } = await publish(path.join(folder, 'source.ts'), '--registry', '127.0.0.1:1');
    expect(thrown).toMatchObject({ code: 'PLUGIN_INVALID', message: expect.stringContaining('flowops plugin build') });
  });

  it('tells an address that is none', async () => {
    const folder = sourceTree({ 'a.js': '//! flowops-plugin {"name":"a","version":"1.0.0"}\n' });
    const { thrown } = await publish(path.join(folder, 'a.js'), '--registry', 'nowhere');
    expect(thrown).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining('HOST:PORT') });
  });
});

describe('registry serve', () => {
  it.each(['http', '70000', '-1', '1.5'])('refuses the port %s', async (port) => {
    const { thrown } = await runProgram(registerServeCommand, ['serve', '--dir', '/nonexistent', `--port=${port}`]);
    expect(thrown).toMatchObject({
      code: 'USAGE_INVALID',
      message: expect.stringContaining('--port must be a number'),
    });
  });
});
