import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CallerLease } from '../../../../sandbox/attempts/caller-lease.ts';
import { Unowned } from '../../../../sandbox/attempts/unowned.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function makeLease(leaseMs = 1_000) {
  const questions: (() => void)[] = [];
  const onOver = vi.fn();
  const lease = new CallerLease({ leaseMs, ask: (onAnswer) => questions.push(onAnswer), onOver });
  return { lease, questions, onOver };
}

describe('the lease of a caller', () => {
  it('goes on as long as questions are answered', () => {
    const { lease, questions, onOver } = makeLease();
    for (let answered = 0; answered < 50; answered++) {
      vi.advanceTimersByTime(100);
      questions.at(-1)?.();
    }
    expect(onOver).not.toHaveBeenCalled();
    lease.close();
  });

  it('is over its length after the last question that was answered, not after the answer', () => {
    const { questions, onOver } = makeLease();
    const begin = performance.now();
    onOver.mockImplementation(() => expect(performance.now() - begin).toBe(1_200));
    vi.advanceTimersByTime(200);
    const asked = questions[1];
    vi.advanceTimersByTime(500);
    asked?.(); // as a frame that lay in the network for half of the lease
    vi.advanceTimersByTime(5_000);
    expect(onOver).toHaveBeenCalledOnce();
  });

  it('is not made shorter by an old answer that comes after a newer one', () => {
    const { lease, questions } = makeLease();
    vi.advanceTimersByTime(300);
    questions[2]?.();
    const endsAtMs = lease.endsAtMs;
    questions[0]?.();
    expect(lease.endsAtMs).toBe(endsAtMs);
    lease.close();
  });

  it('asks no more once it is over or closed', () => {
    const { questions } = makeLease();
    vi.advanceTimersByTime(10_000);
    const asked = questions.length;
    expect(asked).toBeLessThanOrEqual(10);
    const other = makeLease();
    other.lease.close();
    vi.advanceTimersByTime(10_000);
    expect([questions.length, other.questions.length]).toEqual([asked, 0]);
    expect(other.onOver).not.toHaveBeenCalled();
  });
});

describe('attempts without a caller', () => {
  it('end at the time their lease has, unless they are taken', () => {
    const unowned = new Unowned();
    const [first, second] = [vi.fn(), vi.fn()];
    unowned.add('a', performance.now() + 500, first);
    unowned.add('b', performance.now() + 500, second);
    unowned.delete('b');
    vi.advanceTimersByTime(499);
    expect(first).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect([first.mock.calls.length, second.mock.calls.length]).toEqual([1, 0]);
  });

  it('end at once when a lease is over already, and beyond 4096 of them', () => {
    const unowned = new Unowned();
    const ends: string[] = [];
    unowned.add('late', performance.now() - 1, () => ends.push('late'));
    vi.advanceTimersByTime(0);
    for (let index = 0; index < 4_100; index++) {
      unowned.add(String(index), performance.now() + 60_000, () => ends.push(String(index)));
    }
    vi.advanceTimersByTime(0);
    expect(ends).toEqual(['late', '4096', '4097', '4098', '4099']);
    unowned.close();
    vi.advanceTimersByTime(100_000);
    expect(ends).toHaveLength(5);
  });
});
