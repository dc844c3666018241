import { KeyedLock } from '@flowops/engine/base/keyed-lock.ts';
import { describe, expect, it } from 'vitest';

describe('work on one key', () => {
  it('goes in order, and other keys do not wait', async () => {
    const lock = new KeyedLock();
    const gate = Promise.withResolvers<void>();
    const done: string[] = [];
    const first = lock.run('a', async () => {
      await gate.promise;
      done.push('a1');
    });
    const second = lock.run('a', async () => done.push('a2'));
    await lock.run('b', async () => done.push('b'));
    expect(done).toEqual(['b']);
    gate.resolve();
    await Promise.all([first, second]);
    expect(done).toEqual(['b', 'a1', 'a2']);
  });

  it('that fails holds up nothing', async () => {
    const lock = new KeyedLock();
    const failed = lock.run('a', () => Promise.reject(new Error('broken')));
    const next = lock.run('a', async () => 'fine');
    await expect(failed).rejects.toThrow('broken');
    expect(await next).toBe('fine');
  });

  it('in strict order takes those behind a failure with it, and starts anew afterwards', async () => {
    const lock = new KeyedLock();
    const failed = lock.runInOrder('a', () => Promise.reject(new Error('store')));
    const behind = lock.runInOrder('a', async () => 'must not run');
    await expect(failed).rejects.toThrow('store');
    await expect(behind).rejects.toThrow('store');
    expect(await lock.runInOrder('a', async () => 'again')).toBe('again');
  });
});
