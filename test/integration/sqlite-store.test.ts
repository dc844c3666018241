/** The SQLite file and FLOWOPS_HOME's lock with several processes, some of which are killed. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockHome } from '../../engine/store/home-lock.ts';
import { openSqliteStore } from '../../engine/store/sqlite-store.ts';

const FIXTURES = new URL('../fixtures/store/', import.meta.url);

interface Program {
  readonly child: ChildProcessByStdio<null, Readable, null>;
  readonly lines: AsyncIterator<string>;
}

let folder: string;
let programs: Program[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flowops-store-'));
  programs = [];
});
afterEach(async () => {
  await Promise.all(programs.map((program) => kill(program)));
  rmSync(folder, { recursive: true });
});

function start(name: string, ...args: string[]): Program {
  const child = spawn(process.execPath, [new URL(name, FIXTURES).pathname, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const program = { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  programs.push(program);
  return program;
}

async function kill({ child }: Program, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, 'exit');
}

/** The last of what a program printed, after its end. */
async function lastLine({ lines }: Program): Promise<string | undefined> {
  let last: string | undefined;
  for (let line = await lines.next(); line.done !== true; line = await lines.next()) last = line.value;
  return last;
}

describe('the SQLite file', () => {
  it('holds every commit that was acknowledged to a process before it was killed, whole', async () => {
    const file = join(folder, 'state.db');
    const program = start('commit-forever.ts', file, 'killed');
    let acknowledged = 0;
    while (acknowledged < 100) acknowledged = Number((await program.lines.next()).value);
    await kill(program);
    acknowledged = Number((await lastLine(program)) ?? acknowledged);

    const store = openSqliteStore({ file });
    const run = await store.read({ flowId: 'forever', runId: 'killed' });
    const revision = run?.meta.revision ?? 0;
    expect(revision).toBeGreaterThanOrEqual(acknowledged);
    // The commit in flight is there whole or not at all.
    expect(run?.outbox).toEqual(Array.from({ length: revision }, (_, index) => `e${index + 1}`));
    expect(run?.steps.get('last')).toBe(`e${revision}`);
    expect(await store.activeRuns('of-killed')).toEqual([{ flowId: 'forever', runId: 'killed' }]);
    await store.close();
  });

  it('is written by four processes at once, new as it is, and nobody waits in vain', async () => {
    const file = join(folder, 'state.db');
    const names = ['a', 'b', 'c', 'd'];
    const started = names.map((name) => start('commit-forever.ts', file, name, '150'));
    expect(await Promise.all(started.map(lastLine))).toEqual(['151', '151', '151', '151']);
    const store = openSqliteStore({ file });
    for (const runId of names) expect((await store.read({ flowId: 'forever', runId }))?.meta.revision).toBe(151);
    expect([...(await store.partitions())].sort()).toEqual(['of-a', 'of-b', 'of-c', 'of-d']);
    await store.close();
  });
});

describe('the lock of FLOWOPS_HOME', () => {
  it('is held by one process of several that start at once', async () => {
    const started = Array.from({ length: 4 }, () => start('hold-home.ts', folder));
    const answers = await Promise.all(started.map(async ({ lines }) => (await lines.next()).value));
    expect(answers.sort()).toEqual(['held', 'taken', 'taken', 'taken']);
  });

  it('names the process that holds it and is free when that was killed', async () => {
    const holder = start('hold-home.ts', folder);
    expect((await holder.lines.next()).value).toBe('held');
    expect(lockHome(folder)).toMatchObject({ result: 'taken', owner: { pid: holder.child.pid } });
    await kill(holder);
    const mine = lockHome(folder);
    expect(mine.result).toBe('held');
    if (mine.result === 'held') mine.lock.release();
  });

  it('is free when the process ended in order', async () => {
    const holder = start('hold-home.ts', folder);
    await holder.lines.next();
    await kill(holder, 'SIGTERM');
    const mine = lockHome(folder);
    expect(mine.result).toBe('held');
    if (mine.result === 'held') mine.lock.release();
  });
});
