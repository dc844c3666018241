import path from 'node:path';
import { registerPublishCommand } from '@flowops/sdk/cli/publish-command.ts';
import { publishReportSchema } from '@flowops/sdk/cli/reports.ts';
import { registerServeCommand } from '@flowops/sdk/cli/serve-command.ts';
import { type RunningRegistry, serveRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { scratchFolder } from '../../../services/scratch.ts';
import { bundleBytes } from '../../../support/bundle-bytes.ts';
import { runProgram } from '../../../support/run-program.ts';
import { newSigner, type Signer } from '../../../support/signer.ts';
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

describe('plugin publish to a registry', () => {
  let registry: RunningRegistry;
  beforeEach(async () => {
    registry = await serveRegistry({ dir: scratchFolder(), port: 0 });
  });
  afterEach(() => registry.close());

  /** Publishes core.hello of that version as the command does, with a `.sig` beside it when somebody signs. */
  function publishFile(version: string, signer: Signer | undefined, ...more: string[]) {
    const bundle = bundleBytes({ version });
    const signature = signer === undefined ? {} : { 'a.js.sig': signer.sign(bundle) };
    const folder = sourceTree({ 'a.js': Buffer.from(bundle).toString(), ...signature });
    return publish(path.join(folder, 'a.js'), '--registry', registry.address, ...more);
  }

  it('prints one JSON object, with what flows get now that name no version', async () => {
    const signer = newSigner();
    const published = publishReportSchema.parse(JSON.parse((await publishFile('1.0.0', signer, '--json')).stdout));
    expect(published).toMatchObject({ version: '1.0.0', latest: '1.0.0', keyId: signer.keyId });
    const next = await publishFile('2.0.0-rc.1', signer, '--json');
    expect(JSON.parse(next.stdout)).toMatchObject({ version: '2.0.0-rc.1', latest: '1.0.0' });
    expect(next.stderr).toMatch(/pre-release.*the latest stays 1\.0\.0/);
  });

  it("refuses an id that is taken as the plugin's to change, until --take-over says that it is meant", async () => {
    await publishFile('1.0.0', newSigner());
    const refused = await publishFile('1.1.0', undefined);
    expect(refused.thrown).toMatchObject({ code: 'PLUGIN_INVALID', message: expect.stringContaining('--take-over') });
    const meant = await publishFile('1.1.0', undefined, '--take-over');
    expect(meant).toMatchObject({ thrown: undefined, stdout: expect.stringMatching(/^core\.hello 1\.1\.0\n/) });
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
