import { describe, expect, it } from 'vitest';
import { Epochs } from '../../../../sandbox/attempts/epochs.ts';

describe('the epochs of runs', () => {
  it('admits the same or a higher one and refuses a lower one, run by run', () => {
    const epochs = new Epochs();
    expect([3n, 3n, 5n, 4n, 5n].map((epoch) => epochs.admit('f', 'r', epoch))).toEqual([true, true, true, false, true]);
    expect(epochs.admit('f', 'other', 1n)).toBe(true);
  });

  it('forgets the run that was not mentioned for longest when it is full', () => {
    const epochs = new Epochs(2);
    epochs.admit('f', 'a', 9n);
    epochs.admit('f', 'b', 9n);
    epochs.admit('f', 'a', 9n);
    epochs.admit('f', 'c', 9n);
    expect(epochs.admit('f', 'a', 1n)).toBe(false);
    expect(epochs.admit('f', 'b', 1n)).toBe(true);
  });
});

describe('names of runs', () => {
  it('are forgotten, oldest first, when they are too long together', () => {
    const epochs = new Epochs(1_000, 100);
    epochs.admit('f', 'a'.repeat(40), 5n);
    epochs.admit('f', 'b'.repeat(40), 5n);
    expect(epochs.admit('f', 'a'.repeat(40), 4n)).toBe(false);
    epochs.admit('f', 'c'.repeat(40), 5n);
    expect(epochs.admit('f', 'a'.repeat(40), 4n)).toBe(true);
    epochs.admit('f', 'd'.repeat(500), 5n);
    expect(epochs.admit('f', 'd'.repeat(500), 4n)).toBe(false);
  });
});
