import { describe, expect, it } from 'vitest';
import { parseMoved, parseSlots, slotOf } from '../../../../engine/store/redis-topology.ts';
import { StoreDamaged } from '../../../../engine/store/run-store.ts';

const ASKED = { host: '10.0.0.1', port: 7000 };

describe('a key of a cluster', () => {
  it.each([
    ['123456789', 12739],
    ['foo', 12182],
    ['{user1000}.following', 3443],
    ['foo{}{bar}', 8363],
    ['foo{{bar}}zap', 4015],
    ['foo{bar}{zap}', 5061],
    ['', 0],
  ])('%s has the slot that the specification gives it', (key, slot) => {
    expect(slotOf(key)).toBe(slot);
  });

  it('and the other keys of its run are in one slot', () => {
    const slots = ['meta', 'def', 'steps', 'context', 'outbox', 'inbox'].map((part) =>
      slotOf(`flow:{f.1:r_2}:${part}`),
    );
    expect(new Set(slots).size).toBe(1);
    expect(slotOf('flowops:{p7}:epoch')).toBe(slotOf('flowops:{p7}:active'));
  });
});

describe('who holds which slots', () => {
  it('is read from CLUSTER SLOTS, with the primary of each range', () => {
    const reply = [
      [0, 99, ['10.0.0.2', 7001, 'id', []], ['10.0.0.9', 7009, 'replica', []]],
      [100, 16383, ['host.example', 7002, 'id']],
    ];
    expect(parseSlots(reply, ASKED)).toEqual([
      { from: 0, to: 99, primary: { host: '10.0.0.2', port: 7001 } },
      { from: 100, to: 16383, primary: { host: 'host.example', port: 7002 } },
    ]);
  });

  it.each([[null], [''], ['?']])('is the node that was asked where it does not know its own address (%o)', (host) => {
    expect(parseSlots([[0, 1, [host, 7000, 'id']]], ASKED)).toEqual([{ from: 0, to: 1, primary: ASKED }]);
  });

  it('is not guessed from anything else', () => {
    expect(() => parseSlots('OK', ASKED)).toThrow(StoreDamaged);
    expect(() => parseSlots([[0, 'x', ['h', 1]]], ASKED)).toThrow(StoreDamaged);
  });
});

describe('a redirection', () => {
  it.each([
    ['MOVED 3999 10.0.0.7:6381', { host: '10.0.0.7', port: 6381 }],
    ['MOVED 3999 :6381', { host: '10.0.0.1', port: 6381 }],
    ['MOVED 3999 ::1:6381', { host: '::1', port: 6381 }],
    ['MOVED 3999', undefined],
  ])('%s names the node', (message, host) => {
    expect(parseMoved(message, ASKED)).toEqual(host);
  });
});
