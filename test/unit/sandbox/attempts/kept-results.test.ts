import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KeptResults } from '../../../../sandbox/attempts/kept-results.ts';

const HOUR_MS = 3_600_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('results that nobody acknowledged', () => {
  it('are kept for an hour', () => {
    const forgotten: string[] = [];
    const kept = new KeptResults((key) => forgotten.push(key));
    kept.add('a', 1);
    vi.advanceTimersByTime(HOUR_MS - 1);
    expect(forgotten).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(forgotten).toEqual(['a']);
  });

  it('are kept up to a number, and the oldest goes first', () => {
    const forgotten: string[] = [];
    const kept = new KeptResults((key) => forgotten.push(key), { maxResults: 2 });
    for (const key of ['a', 'b', 'c', 'd']) kept.add(key, 1);
    expect(forgotten).toEqual(['a', 'b']);
  });

  it('are kept up to a size, but the newest in any case', () => {
    const forgotten: string[] = [];
    const kept = new KeptResults((key) => forgotten.push(key), { maxBytes: 100 });
    for (const [key, bytes] of Object.entries({ a: 40, b: 40, c: 40, d: 500, e: 10 })) kept.add(key, bytes);
    expect(forgotten).toEqual(['a', 'b', 'c', 'd']);
    kept.add('f', 90);
    expect(forgotten).toEqual(['a', 'b', 'c', 'd']);
  });

  it('make room when they are taken, and are not told then', () => {
    const forgotten: string[] = [];
    const kept = new KeptResults((key) => forgotten.push(key), { maxBytes: 100 });
    kept.add('a', 60);
    kept.delete('a');
    kept.delete('a');
    kept.add('b', 60);
    kept.close();
    vi.advanceTimersByTime(HOUR_MS);
    expect(forgotten).toEqual([]);
  });
});
