import { mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockHome } from '../../../../engine/store/home-lock.ts';

describe('the lock of FLOWOPS_HOME', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flowops-lock-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const held = (home: string) => {
    const answer = lockHome(home);
    if (answer.result !== 'held') throw new Error(answer.message);
    return answer.lock;
  };

  it('is given once, and the second is told who has it', () => {
    const home = join(folder, 'made', 'by it');
    const lock = held(home);
    const second = lockHome(home);
    expect(second).toMatchObject({ result: 'taken', owner: { pid: process.pid, host: hostname() } });
    expect(second.result === 'taken' && second.message).toContain(`pid ${process.pid}`);
    lock.release();
  });

  it('is free again after its release, which may be repeated', () => {
    const lock = held(folder);
    lock.release();
    lock.release();
    const next = held(folder);
    lock.release();
    expect(lockHome(folder).result).toBe('taken');
    next.release();
  });

  it('of one folder has nothing to do with that of another', () => {
    const locks = [held(join(folder, 'a')), held(join(folder, 'b'))];
    for (const lock of locks) lock.release();
  });
});
