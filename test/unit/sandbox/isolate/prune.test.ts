import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keepUsed, pruneUnused } from '../../../../sandbox/isolate/prune.ts';

const DAY_MS = 24 * 3600 * 1000;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'prune-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function make(name: string, ageDays: number): void {
  const place = path.join(folder, name);
  if (name.includes('.') || name.startsWith('filter')) writeFileSync(place, 'x');
  else mkdirSync(path.join(place, 'lib'), { recursive: true });
  const time = new Date(Date.now() - ageDays * DAY_MS);
  utimesSync(place, time, time);
}

describe('what hosts left in their private folder', () => {
  it('goes when nobody has used it for a week', () => {
    for (const name of ['root-a', 'root-a.json', 'filter-a', 'worker-a']) make(name, 8);
    for (const name of ['root-b', 'root-b.json', 'filter-b', 'worker-b']) make(name, 6);
    expect(pruneUnused(folder, Date.now()).sort()).toEqual(['filter-a', 'root-a', 'root-a.json', 'worker-a']);
    expect(existsSync(path.join(folder, 'root-b', 'lib'))).toBe(true);
  });

  it('stays when a host says that it uses it, and when it is no thing of ours', () => {
    make('root-a', 8);
    make('somebody.txt', 8);
    const release = keepUsed(folder, ['root-a', 'never-made']);
    expect(pruneUnused(folder, Date.now())).toEqual([]);
    release();
  });
});
