import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CallGate } from '../../../../sandbox/host-calls/call-gate.ts';

const never = new AbortController().signal;
const LIMITS = { maxOpen: 2, maxWaiting: 2, maxWaitingBytes: 100 };

describe('the gate of an attempt', () => {
  it('lets so many through, the others wait in order, and the rest is turned away', async () => {
    const gate = new CallGate(LIMITS);
    expect([await gate.enter(1, never), await gate.enter(1, never)]).toEqual(['go', 'go']);
    const order: string[] = [];
    const first = gate.enter(1, never).then(() => order.push('first'));
    const second = gate.enter(1, never).then(() => order.push('second'));
    expect(await gate.enter(1, never)).toBe('full');
    gate.leave();
    await first;
    expect(order).toEqual(['first']);
    gate.leave();
    await second;
    expect(order).toEqual(['first', 'second']);
  });

  it('turns away what would make more wait than it has room for', async () => {
    const gate = new CallGate({ ...LIMITS, maxOpen: 0 });
    void gate.enter(60, never);
    expect(await gate.enter(60, never)).toBe('full');
  });

  it('forgets who gives up while waiting, and gives its room to others', async () => {
    const gate = new CallGate({ maxOpen: 0, maxWaiting: 1, maxWaitingBytes: 100 });
    const caller = new AbortController();
    const waiting = gate.enter(100, caller.signal);
    caller.abort();
    expect(await waiting).toBe('aborted');
    expect(await gate.enter(1, caller.signal)).toBe('aborted');
    const pending = Symbol('pending');
    expect(await Promise.race([gate.enter(100, never), Promise.resolve(pending)])).toBe(pending);
  });

  it('never has more open than it may, and ends empty', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 40 }), async (steps) => {
        const gate = new CallGate({ maxOpen: 3, maxWaiting: 100, maxWaitingBytes: 1000 });
        let open = 0;
        let most = 0;
        const turns: Promise<void>[] = [];
        const leave = (): void => {
          if (open === 0) return;
          open--;
          gate.leave();
        };
        for (const isEnter of steps) {
          if (isEnter) {
            turns.push(
              gate.enter(1, never).then(() => {
                open++;
                most = Math.max(most, open);
              }),
            );
          } else leave();
          await Promise.resolve();
          await Promise.resolve();
        }
        for (let left = 0; left <= turns.length; left++) {
          leave();
          await Promise.resolve();
          await Promise.resolve();
        }
        await Promise.all(turns);
        expect(most).toBeLessThanOrEqual(3);
      }),
    );
  });
});
