import { Heap } from '@flowops/engine/base/heap.ts';
import { Backlog } from '@flowops/engine/runs/backlog.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('a heap', () => {
  it('gives what was put in, in order, whatever comes between', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.integer(), fc.constant('pop' as const))), (actions) => {
        const heap = new Heap<number>((a, b) => a < b);
        let model: number[] = [];
        for (const action of actions) {
          if (action === 'pop') {
            expect(heap.pop()).toBe(model[0]);
            model = model.slice(1);
          } else {
            heap.push(action);
            model = [...model, action].sort((a, b) => a - b);
          }
          expect(heap.peek()).toBe(model[0]);
          expect(heap.size).toBe(model.length);
        }
      }),
    );
  });
});

describe('the backlog', () => {
  it('gives the highest priority first, then the oldest', () => {
    const backlog = new Backlog();
    const run = (runId: string, priority: number, createdMs: number) => {
      backlog.push({ ref: { flowId: 'f', runId }, owner: { partition: '0', epoch: 1 }, priority, createdMs });
    };
    run('old', 0, 1);
    run('new', 0, 2);
    run('high', 5, 3);
    expect([backlog.pop(), backlog.pop(), backlog.pop()].map((next) => next?.ref.runId)).toEqual([
      'high',
      'old',
      'new',
    ]);
    expect(backlog.pop()).toBeUndefined();
  });
});
