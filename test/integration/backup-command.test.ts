/** `flowops backup` as an operator calls it: the real program, beside a store that is in use. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { backupReportSchema } from '@flowops/engine/cli/reports.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { removeFolder, scratchFolder } from '../services/scratch.ts';

const ROOT = new URL('../../', import.meta.url).pathname;

let folder: string;
beforeEach(() => {
  folder = scratchFolder();
});
afterEach(() => removeFolder(folder));

async function flowops(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(process.execPath, [join(ROOT, 'bin/flowops.ts'), ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', FLOWOPS_HOME: join(folder, 'home'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { exitCode, stdout, stderr };
}

async function inUse() {
  const store = openSqliteStore({ file: join(folder, 'home', 'flowops.db') });
  const owner = await store.openPartition('run-flow.a');
  await store.create({ flowId: 'flow', runId: 'a' }, owner, { definition: 'D' });
  return store;
}

it('copies the runs of a store that is in use, and says how many', async () => {
  const store = await inUse();
  const said = await flowops(['backup', 'copy.db']);
  expect(said).toMatchObject({ exitCode: 0, stderr: '' });
  expect(said.stdout).toMatch(/copy\.db: 1 run, 1 of them unfinished, \d+\.\d MiB\n$/);
  const json = await flowops(['backup', 'second.db', '--json']);
  const report = backupReportSchema.parse(JSON.parse(json.stdout));
  expect(report).toMatchObject({ file: join(folder, 'second.db'), runs: 1, unfinished: 1 });
  await store.close();

  const copy = openSqliteStore({ file: join(folder, 'copy.db') });
  expect(await copy.read({ flowId: 'flow', runId: 'a' })).toMatchObject({ definition: 'D' });
  await copy.close();
});

it('without a store says where it looked, and ends with 2', async () => {
  const said = await flowops(['backup', 'copy.db', '--json']);
  expect(said.exitCode).toBe(2);
  expect(JSON.parse(said.stdout)).toMatchObject({
    error: { code: 'CONFIG_INVALID', message: expect.stringContaining(join(folder, 'home', 'flowops.db')) },
  });
  expect(existsSync(join(folder, 'copy.db'))).toBe(false);
});

it('for a service says how a Redis is backed up, and never prints its password', async () => {
  const redis = { REDIS_URL: 'redis://u:hunter2@localhost:6379' };
  const nothing = await flowops(['backup', 'copy.db'], redis);
  expect(nothing.exitCode).toBe(2);
  expect(nothing.stderr).toMatch(/runs of a service are in that Redis\. .*BGSAVE/);
  await (await inUse()).close();
  const embedded = await flowops(['backup', 'copy.db'], redis);
  expect(embedded.exitCode).toBe(0);
  expect(embedded.stderr).toMatch(/runs of a service are in that Redis\. .*Copied now is the embedded store/);
  expect(nothing.stderr + embedded.stderr).not.toContain('hunter2');
});
