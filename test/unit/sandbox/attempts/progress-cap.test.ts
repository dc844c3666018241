import { describe, expect, it } from 'vitest';
import { ProgressCap } from '../../../../sandbox/attempts/progress-cap.ts';

const at = (fraction: number, message = '') => ({ fraction, message });

describe('the cap on progress', () => {
  it('drops what comes within 50 ms of the last', () => {
    const cap = new ProgressCap();
    const admitted = Array.from({ length: 100 }, (_, ms) => cap.admit(at(ms / 1000), ms)).filter(Boolean);
    expect(admitted).toEqual([at(0), at(0.05)]);
  });

  it('tells that it is done at once, but once', () => {
    const cap = new ProgressCap();
    expect(cap.admit(at(0.5), 0)).toBeDefined();
    expect(cap.admit(at(1, 'done'), 1)).toEqual(at(1, 'done'));
    expect(cap.admit(at(1, 'done'), 2)).toBeUndefined();
    expect(cap.admit(at(1, 'still done'), 60)).toBeDefined();
  });

  it.each([
    [Number.NaN, 0],
    [Number.NEGATIVE_INFINITY, 0],
    [-1, 0],
    [7, 1],
    [Number.POSITIVE_INFINITY, 1],
  ])('reads %s as %s', (fraction, known) => {
    expect(new ProgressCap().admit(at(fraction), 0)).toEqual(at(known));
  });

  it('tells who goes on and on', () => {
    const cap = new ProgressCap();
    for (let i = 0; i <= 10_000; i++) cap.admit(at(0.5), 0);
    expect(cap.isBeyondAll).toBe(false);
    cap.admit(at(0.5), 0);
    expect(cap.isBeyondAll).toBe(true);
  });

  it('cuts a long message', () => {
    expect(new ProgressCap().admit(at(0, 'x'.repeat(100_000)), 0)?.message).toHaveLength(1024);
  });
});
