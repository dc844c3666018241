/** `npm install` for a new plugin, with programs that answer like npm. */
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { type InstallResult, installPackages } from '@flowops/sdk/cli/install-packages.ts';
import { describe, expect, it } from 'vitest';
import { sourceTree } from '../../../support/source-tree.ts';

interface Given {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** @param script what the npm in PATH does; undefined: there is none. */
async function install(script: string | undefined, given: Given = {}): Promise<InstallResult> {
  const folder = sourceTree(script === undefined ? {} : { 'bin/npm': `#!/bin/sh\n${script}\n` });
  if (script !== undefined) chmodSync(path.join(folder, 'bin/npm'), 0o755);
  const { signal = new AbortController().signal, ...rest } = given;
  return await installPackages(folder, {
    signal,
    env: { PATH: `${folder}/bin${script === undefined ? '' : ':/usr/bin:/bin'}` },
    ...rest,
  });
}

describe('npm install', () => {
  it('that ends well is told as that', async () => {
    expect(await install('exit 0')).toEqual({ kind: 'installed' });
  });

  it('installs into the folder of the plugin, whatever npm runs around it', async () => {
    const result = await install('[ "$1 $2 $3" = "install --prefix $PWD" ] || { echo "$@ in $PWD"; exit 1; }');
    expect(result).toEqual({ kind: 'installed' });
  });

  it('without an npm in PATH is told as that', async () => {
    expect(await install(undefined)).toEqual({ kind: 'no-npm' });
  });

  it('that fails is told in its own words, without its prefixes and its log', async () => {
    const words = [
      'npm error code ECONNREFUSED',
      'npm error connect ECONNREFUSED 127.0.0.1:1',
      'npm error A complete log of this run can be found in: /home/ada/.npm/_logs/2026.log',
    ];
    expect(await install(`printf '%s\\n' ${words.map((word) => `'${word}'`).join(' ')} >&2; exit 1`)).toEqual({
      kind: 'failed',
      detail: 'code ECONNREFUSED\nconnect ECONNREFUSED 127.0.0.1:1',
    });
    expect(await install('exit 7')).toEqual({ kind: 'failed', detail: 'npm ended with code 7' });
  });

  it('that never ends is ended', async () => {
    expect(await install('exec sleep 600', { timeoutMs: 300 })).toEqual({
      kind: 'failed',
      detail: 'npm was not done after 0.3 s',
    });
  });

  it('that is interrupted ends at once', async () => {
    const controller = new AbortController();
    const result = install('exec sleep 600', { signal: controller.signal });
    controller.abort();
    expect(await result).toEqual({ kind: 'interrupted' });
  });
});
