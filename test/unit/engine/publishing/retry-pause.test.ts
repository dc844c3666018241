import { FIRST_PAUSE_MS, LONGEST_PAUSE_MS, retryPauseMs } from '@flowops/engine/publishing/retry-pause.ts';
import { describe, expect, it } from 'vitest';

describe('retryPauseMs', () => {
  it('doubles from try to try up to its bound, also after a very long time', () => {
    const pauses = [1, 2, 3, 4, 100_000].map((failures) => retryPauseMs(failures, () => 0));
    expect(pauses).toEqual([
      FIRST_PAUSE_MS,
      FIRST_PAUSE_MS * 2,
      FIRST_PAUSE_MS * 4,
      FIRST_PAUSE_MS * 8,
      LONGEST_PAUSE_MS,
    ]);
  });

  it('takes at most half away as jitter', () => {
    expect(retryPauseMs(100, () => 0.999_999)).toBe(LONGEST_PAUSE_MS / 2);
  });
});
