/** What follows a fault of the infrastructure (G9), and the quarantine of steps that kill their host. */
import { afterFault, backoffMs, MAX_CRASHES_PER_STEP, MAX_FAULTS_PER_STEP } from '@flowops/engine/scheduler/retry.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const running = (faults: number, crashes: number) =>
  ({ status: 'RUNNING', attempt: 1, faults, crashes, token: 'ab12', host: 'h', startedAtMs: 0 }) as const;
const fault = { code: 'SANDBOX_UNAVAILABLE', reason: 'no host' } as const;

describe('the backoff', () => {
  it('doubles up to a bound, takes at most half away, and is the same for the same attempt', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.stringMatching(/^[0-9a-f]{32}$/), (faults, token) => {
        const full = Math.min(10_000, 250 * 2 ** (faults - 1));
        const ms = backoffMs(faults, token);
        expect(ms).toBeGreaterThanOrEqual(full / 2);
        expect(ms).toBeLessThanOrEqual(full);
        expect(backoffMs(faults, token)).toBe(ms);
      }),
    );
  });

  it('spreads attempts that were lost together', () => {
    const tokens = Array.from({ length: 1_000 }, (_, index) => index.toString(16).padStart(32, '0'));
    expect(new Set(tokens.map((token) => backoffMs(3, token))).size).toBeGreaterThan(200);
  });
});

describe('a fault', () => {
  it('has a budget of its own, and names itself when that is used up', () => {
    expect(afterFault(running(MAX_FAULTS_PER_STEP - 1, 0), fault)).toMatchObject({ kind: 'again', crashes: 0 });
    expect(afterFault(running(MAX_FAULTS_PER_STEP, 0), fault)).toEqual({
      kind: 'fail',
      code: 'SANDBOX_UNAVAILABLE',
      message: 'no host (6 times in a row; the infrastructure needs attention)',
    });
  });

  it('costs nothing where the host died of the suspect beside', () => {
    expect(afterFault(running(MAX_FAULTS_PER_STEP, 1), { ...fault, crash: 'other' })).toMatchObject({
      kind: 'again',
      faults: MAX_FAULTS_PER_STEP,
      crashes: 1,
    });
  });

  it('under which the host died again and again fails the step as SANDBOX_CRASHED', () => {
    expect(afterFault(running(0, MAX_CRASHES_PER_STEP - 2), { ...fault, crash: 'step' })).toMatchObject({ crashes: 2 });
    expect(afterFault(running(0, MAX_CRASHES_PER_STEP - 1), { ...fault, crash: 'step' })).toMatchObject({
      kind: 'fail',
      code: 'SANDBOX_CRASHED',
    });
  });
});
