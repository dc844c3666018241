import { assignPartitions } from '@flowops/engine/commands/sticky-assignment.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('assignPartitions', () => {
  it('gives all partitions to the only member', () => {
    expect(shares([0, 1, 2], { a: [] })).toEqual({ a: [0, 1, 2] });
  });

  it('moves only what a third member needs for its share', () => {
    const before = { a: [0, 2, 4], b: [1, 3, 5], c: [] };
    const after = shares([0, 1, 2, 3, 4, 5], before);
    expect(after).toEqual({ a: [0, 2], b: [1, 3], c: [4, 5] });
  });

  it('leaves everything where it is when a member goes, and spreads only its share', () => {
    expect(shares([0, 1, 2, 3, 4, 5], { a: [0, 2], b: [1, 3] })).toEqual({ a: [0, 2, 4], b: [1, 3, 5] });
  });

  it('leaves members without partitions when there are too few', () => {
    expect(shares([0], { a: [0], b: [] })).toEqual({ a: [0], b: [] });
  });

  it('ignores claims of partitions that are gone and settles contradicting ones', () => {
    expect(shares([0, 1], { a: [0, 1, 9], b: [0] })).toEqual({ a: [0], b: [1] });
  });

  it('leaves a member that is about to go what it holds and gives it nothing more', () => {
    const members = [
      { memberId: 'a', owned: [0, 1], isLeaving: true },
      { memberId: 'b', owned: [2] },
      { memberId: 'c', owned: [] },
    ];
    expect(Object.fromEntries(assignPartitions([0, 1, 2, 3, 4], members))).toEqual({ a: [0, 1], b: [2, 4], c: [3] });
  });

  it('gives everything to somebody also when all are about to go', () => {
    const members = ['a', 'b'].map((memberId) => ({ memberId, owned: [], isLeaving: true }));
    expect(Object.fromEntries(assignPartitions([0, 1], members))).toEqual({ a: [0], b: [1] });
  });

  it('gives every partition once, evenly, and keeps as much as evenness allows', () => {
    const group = fc.record({
      partitions: fc.integer({ min: 0, max: 40 }),
      members: fc.uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 9 }),
      claims: fc.infiniteStream(fc.nat(8)),
    });
    fc.assert(
      fc.property(group, ({ partitions: count, members, claims }) => {
        const partitions = Array.from({ length: count }, (_, i) => i);
        const owned = new Map(members.map((memberId): [string, number[]] => [memberId, []]));
        for (const partition of partitions) {
          const owner = members[(claims.next().value ?? 0) % (members.length + 1)];
          if (owner !== undefined) owned.get(owner)?.push(partition);
        }
        const given = assignPartitions(
          partitions,
          members.map((memberId) => ({ memberId, owned: owned.get(memberId) ?? [] })),
        );
        expect([...given.values()].flat().sort((a, b) => a - b)).toEqual(partitions);
        const sizes = members.map((memberId) => given.get(memberId)?.length ?? 0);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        const floor = Math.floor(count / members.length);
        for (const memberId of members) {
          const before = owned.get(memberId) ?? [];
          const kept = before.filter((partition) => given.get(memberId)?.includes(partition));
          expect(kept.length).toBeGreaterThanOrEqual(Math.min(before.length, floor));
        }
      }),
    );
  });
});

function shares(
  partitions: readonly number[],
  owned: Record<string, readonly number[]>,
): Record<string, readonly number[]> {
  return Object.fromEntries(
    assignPartitions(
      partitions,
      Object.entries(owned).map(([memberId, held]) => ({ memberId, owned: held })),
    ),
  );
}
