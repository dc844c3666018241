import { expect, it } from 'vitest';
import { ByteBudget } from '../../../../sandbox/host-calls/byte-budget.ts';

it('what is held at once is bounded, and comes free again', () => {
  const budget = new ByteBudget({ maxTotalBytes: 100, maxHeldBytes: 10 });
  expect(budget.hold(10)).toBe('fine');
  expect(budget.hold(1)).toBe('too-much-at-once');
  budget.release(11);
  expect(budget.hold(10)).toBe('fine');
});

it('what went through in all is bounded for good', () => {
  const budget = new ByteBudget({ maxTotalBytes: 100, maxHeldBytes: 60 });
  expect(budget.hold(60)).toBe('fine');
  budget.release(60);
  expect(budget.spend(40)).toBe('fine');
  expect(budget.spend(1)).toBe('used-up');
  expect(budget.hold(1)).toBe('used-up');
});
