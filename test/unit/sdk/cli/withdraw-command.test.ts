import { latestNote } from '@flowops/sdk/cli/latest-note.ts';
import { withdrawReportSchema } from '@flowops/sdk/cli/reports.ts';
import { registerWithdrawCommand } from '@flowops/sdk/cli/withdraw-command.ts';
import { publishBundle } from '@flowops/sdk/registry/publish-bundle.ts';
import type { RunningRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { serveRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { scratchFolder } from '../../../services/scratch.ts';
import { bundleBytes } from '../../../support/bundle-bytes.ts';
import { runProgram } from '../../../support/run-program.ts';

let registry: RunningRegistry;
beforeEach(async () => {
  registry = await serveRegistry({ dir: scratchFolder(), port: 0 });
  for (const version of ['1.0.0', '1.1.0']) {
    await publishBundle({ registry: registry.address, bundle: bundleBytes({ version }) });
  }
});
afterEach(() => registry.close());

function withdraw(...args: string[]) {
  return runProgram(registerWithdrawCommand, ['withdraw', ...args, '--registry', registry.address]);
}

describe('plugin withdraw', () => {
  it('says what is done, and what flows get now that name no version', async () => {
    expect(await withdraw('core.hello', '1.1.0')).toMatchObject({
      thrown: undefined,
      stdout: 'core.hello 1.1.0 is withdrawn\nthe latest is 1.0.0\n',
    });
    expect((await withdraw('core.hello', '1.0.0')).stdout).toMatch(/no release of core\.hello is left/);
    expect((await withdraw('core.hello', '1.1.0', '--restore')).stdout).toBe(
      'core.hello 1.1.0 is restored\nthe latest is 1.1.0\n',
    );
  });

  it('prints one JSON object', async () => {
    const run = await withdraw('core.hello', '1.1.0', '--json');
    const report = withdrawReportSchema.parse(JSON.parse(run.stdout));
    expect(report).toMatchObject({ pluginId: 'core.hello', version: '1.1.0', withdrawn: true, latest: '1.0.0' });
    const restored = await withdraw('core.hello', '1.1.0', '--restore', '--json');
    expect(JSON.parse(restored.stdout)).toEqual({ ...report, withdrawn: false, latest: '1.1.0' });
  });

  it.each([
    ['a version that is not there', ['core.hello', '9.0.0'], 'PLUGIN_NOT_FOUND', /1\.1\.0, 1\.0\.0/],
    ['a plugin that is not there', ['core.helo', '1.0.0'], 'PLUGIN_NOT_FOUND', /core\.hello/],
    ['a range', ['core.hello', '1.x'], 'USAGE_INVALID', /one exact version/],
    ['an id that can be none', ['Core Hello', '1.0.0'], 'USAGE_INVALID', /no plugin id/],
  ])('refuses %s', async (_what, args, code, message) => {
    expect((await withdraw(...args)).thrown).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('wants the address of a registry', async () => {
    const run = await runProgram(registerWithdrawCommand, ['withdraw', 'core.hello', '1.0.0']);
    expect(run.thrown).toMatchObject({ message: expect.stringContaining('--registry') });
  });
});

describe('what publishing says of a version that flows do not get by themselves', () => {
  const note = (version: string, latest: string | null | undefined) =>
    latestNote({ pluginId: 'core.hello', version, latest }, '127.0.0.1:9091');

  it('is nothing where they do, or nobody knows', () => {
    expect(note('1.0.0', '1.0.0')).toBeUndefined();
    expect(note('1.0.0', undefined)).toBeUndefined();
  });

  it('is that it is a pre-release, lower than the latest, or withdrawn', () => {
    expect(note('2.0.0-rc.1', '1.0.0')).toMatch(/pre-release.*pluginVersion: 2\.0\.0-rc\.1.*stays 1\.0\.0/);
    expect(note('0.1.0-a', null)).toMatch(/pre-release.*no latest/);
    expect(note('1.9.0', '1.10.0')).toBe('the latest stays 1.10.0');
    expect(note('1.1.0', '1.0.0')).toMatch(
      /withdrawn.*withdraw core\.hello 1\.1\.0 --registry 127\.0\.0\.1:9091 --restore/,
    );
    expect(note('1.1.0', null)).toMatch(/withdrawn.*no latest/);
  });
});
