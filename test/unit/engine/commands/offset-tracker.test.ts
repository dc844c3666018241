import { OffsetTracker } from '@flowops/engine/commands/offset-tracker.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('OffsetTracker', () => {
  it('commits nothing while the first command is unfinished, however many behind it are', () => {
    const tracker = trackerOf(0, [10n, 11n, 12n]);
    tracker.finish(11n, 5);
    tracker.finish(12n, 5);
    expect(tracker.takeCommittable(100)).toBeUndefined();
    tracker.finish(10n, 6);
    expect(tracker.takeCommittable(100)).toBe(13n);
    expect(tracker.takeCommittable(100)).toBeUndefined();
  });

  it('commits the end of the prefix when a gap stays behind it', () => {
    const tracker = trackerOf(0, [0n, 1n, 2n, 3n]);
    for (const offset of [0n, 1n, 3n]) tracker.finish(offset, 0);
    expect(tracker.takeCommittable(0)).toBe(2n);
    expect(tracker.uncommitted).toBe(2);
    expect(tracker.open).toBe(1);
  });

  it('waits until a finished command is on disk', () => {
    const tracker = trackerOf(2500, [0n, 1n]);
    tracker.finish(0n, 1000);
    tracker.finish(1n, 2000);
    expect(tracker.takeCommittable(3499)).toBeUndefined();
    expect(tracker.nextDueMs()).toBe(3500);
    expect(tracker.prefixDueMs()).toBe(4500);
    expect(tracker.takeCommittable(3500)).toBe(1n);
    expect(tracker.takeCommittable(4500)).toBe(2n);
    expect(tracker.nextDueMs()).toBeUndefined();
  });

  it('waits its delay anew after the store was in doubt', () => {
    const tracker = new OffsetTracker(2500);
    tracker.read(0n);
    tracker.finish(0n, 1000);
    expect(tracker.takeCommittable(3600, 3000)).toBeUndefined();
    expect(tracker.takeCommittable(5499, 3000)).toBeUndefined();
    expect(tracker.takeCommittable(5500, 3000)).toBe(1n);
  });

  it('takes gaps in the offsets themselves, as compaction leaves them', () => {
    const tracker = trackerOf(0, [5n, 900n]);
    tracker.finish(5n, 0);
    tracker.finish(900n, 0);
    expect(tracker.takeCommittable(0)).toBe(901n);
  });

  it('refuses an offset that was read before, and to finish one that is not being worked on', () => {
    const tracker = trackerOf(0, [7n]);
    expect(() => tracker.read(7n)).toThrow(RangeError);
    tracker.finish(7n, 0);
    expect(() => tracker.finish(7n, 0)).toThrow(RangeError);
  });

  it('keeps offsets beyond 2^53 apart', () => {
    const tracker = trackerOf(0, [9007199254740993n, 9007199254740994n]);
    tracker.finish(9007199254740993n, 0);
    expect(tracker.takeCommittable(0)).toBe(9007199254740994n);
  });

  it('never commits past an unfinished or too young command, in any order of finishing', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 0, max: 50 }),
        fc.infiniteStream(fc.nat()),
        (count, delayMs, random) => {
          const tracker = trackerOf(
            delayMs,
            Array.from({ length: count }, (_, i) => BigInt(i)),
          );
          const finishedAt = new Map<bigint, number>();
          const open = Array.from({ length: count }, (_, i) => BigInt(i));
          let last = 0n;
          for (let nowMs = 0; open.length > 0; nowMs += 7) {
            const [offset = 0n] = open.splice((random.next().value ?? 0) % open.length, 1);
            tracker.finish(offset, nowMs);
            finishedAt.set(offset, nowMs);
            const next = tracker.takeCommittable(nowMs);
            if (next === undefined) continue;
            expect(next).toBeGreaterThan(last);
            for (let i = last; i < next; i++) {
              expect((finishedAt.get(i) ?? Number.POSITIVE_INFINITY) + delayMs).toBeLessThanOrEqual(nowMs);
            }
            last = next;
          }
          tracker.takeCommittable(Number.MAX_SAFE_INTEGER);
          expect(tracker.committed).toBe(BigInt(count));
          expect(tracker.uncommitted).toBe(0);
        },
      ),
    );
  });
});

function trackerOf(delayMs: number, offsets: readonly bigint[]): OffsetTracker {
  const tracker = new OffsetTracker(delayMs);
  for (const offset of offsets) tracker.read(offset);
  return tracker;
}
