import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AttemptRecord } from '../../../../sandbox/attempts/attempt-record.ts';
import { BundleWaiters } from '../../../../sandbox/attempts/bundle-waiters.ts';

const WAIT_MS = 120_000;
const record = (key: string, digest: string) => ({ key, invoke: { digest } }) as AttemptRecord;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('attempts that wait for a bundle', () => {
  it('are taken together, and only the first asks for it', () => {
    const waiters = new BundleWaiters(() => {});
    const [a, b, other] = [record('a', 'x'), record('b', 'x'), record('c', 'y')];
    expect([a, b, other].map((one) => waiters.add(one))).toEqual([true, false, true]);
    expect(waiters.take('x')).toEqual([a, b]);
    expect([waiters.has('x'), waiters.has('y')]).toEqual([false, true]);
    expect(waiters.take('x')).toEqual([]);
    waiters.close();
  });

  it('wait for two minutes, each on its own', () => {
    const overdue: string[] = [];
    const waiters = new BundleWaiters(({ key }, waitedMs) => overdue.push(`${key} ${waitedMs}`));
    waiters.add(record('a', 'x'));
    vi.advanceTimersByTime(WAIT_MS / 2);
    const late = record('b', 'x');
    waiters.add(late);
    vi.advanceTimersByTime(WAIT_MS / 2);
    expect(overdue).toEqual([`a ${WAIT_MS}`]);
    expect(waiters.has('x')).toBe(true);
    waiters.drop(late);
    expect(waiters.has('x')).toBe(false);
    vi.advanceTimersByTime(WAIT_MS);
    expect(overdue).toHaveLength(1);
  });
});
