import { untilGood } from '@flowops/engine/base/standing.ts';
import { GroupStanding, STANDING_MS } from '@flowops/engine/commands/group-standing.ts';
import { describe, expect, it } from 'vitest';

describe('GroupStanding', () => {
  it('is not good before the group has answered', () => {
    expect(harness().standing.isGood).toBe(false);
  });

  it('is good for 4 s from when the answered heartbeat was sent, and tells both changes', async () => {
    const world = harness();
    world.standing.heard(0);
    expect(world.changes).toEqual([true]);
    await world.advance(STANDING_MS - 1);
    expect(world.standing.isGood).toBe(true);
    await world.advance(1);
    expect(world.standing.isGood).toBe(false);
    expect(world.changes).toEqual([true, false]);
    world.standing.heard(STANDING_MS);
    expect(world.changes).toEqual([true, false, true]);
  });

  it('tells nothing while heartbeats come', async () => {
    const world = harness();
    for (let second = 0; second < 20; second++) {
      world.standing.heard(second * 1000);
      await world.advance(1000);
    }
    expect(world.changes).toEqual([true]);
  });

  it('does not become good by an old answer that a process finds when it wakes', async () => {
    const world = harness();
    world.standing.heard(0);
    world.stopFor(20_000);
    expect(world.standing.isGood).toBe(false);
    world.standing.heard(1000);
    expect(world.standing.isGood).toBe(false);
    world.standing.heard(20_000);
    expect(world.standing.isGood).toBe(true);
  });

  it('wakes who waits for it also when it was bad for a moment that no timer saw', async () => {
    const world = harness();
    world.standing.heard(0);
    world.stopFor(5000);
    let isThere = false;
    void untilGood(world.standing, new AbortController().signal).then(() => {
      isThere = true;
    });
    await turn();
    expect(isThere).toBe(false);
    world.standing.heard(5000);
    await turn();
    expect(isThere).toBe(true);
  });

  it('takes for new only a heartbeat that was sent after the question', async () => {
    const world = harness();
    world.standing.heard(0);
    await world.advance(1000);
    let isHeard = false;
    void world.standing.heardAnew(new AbortController().signal).then(() => {
      isHeard = true;
    });
    world.standing.heard(900);
    await turn();
    expect(isHeard).toBe(false);
    await world.advance(500);
    world.standing.heard(1500);
    await turn();
    expect(isHeard).toBe(true);
  });

  it('is not good once the group was left', () => {
    const world = harness();
    world.standing.heard(0);
    world.standing.left();
    expect(world.changes).toEqual([true, false]);
    world.standing.close();
    world.standing.heard(1);
    expect(world.standing.isGood).toBe(false);
  });
});

function harness() {
  let nowMs = 0;
  let sleeper: { dueMs: number; wake: () => void } | undefined;
  const changes: boolean[] = [];
  const standing = new GroupStanding({
    now: () => nowMs,
    pause: (ms, signal) =>
      new Promise((resolve) => {
        sleeper = { dueMs: nowMs + ms, wake: resolve };
        signal.addEventListener('abort', () => resolve());
      }),
  });
  standing.onChange(() => changes.push(standing.isGood));
  return {
    standing,
    changes,
    advance: async (ms: number) => {
      nowMs += ms;
      if (sleeper !== undefined && sleeper.dueMs <= nowMs) sleeper.wake();
      await turn();
    },
    /** Time goes by and no timer fires. */
    stopFor: (ms: number) => {
      nowMs += ms;
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
