import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startDeadline } from '../../../../sandbox/host-calls/deadline.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('a deadline aborts when its time is over, and says so', () => {
  const deadline = startDeadline(new AbortController().signal, 100);
  vi.advanceTimersByTime(99);
  expect([deadline.signal.aborted, deadline.hasPassed]).toEqual([false, false]);
  vi.advanceTimersByTime(1);
  expect([deadline.signal.aborted, deadline.hasPassed]).toEqual([true, true]);
});

it('a deadline aborts with its parent, which is not its time', () => {
  const parent = new AbortController();
  const deadline = startDeadline(parent.signal, 100);
  parent.abort(new Error('enough'));
  expect([deadline.signal.reason, deadline.hasPassed, vi.getTimerCount()]).toEqual([new Error('enough'), false, 0]);
  expect(startDeadline(parent.signal, 100).signal.aborted).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});

it('a released deadline leaves no timer and never aborts', () => {
  const parent = new AbortController();
  const deadline = startDeadline(parent.signal, 100);
  deadline.release();
  deadline.release();
  parent.abort();
  expect([vi.getTimerCount(), deadline.signal.aborted]).toEqual([0, false]);
});
