import { StoreCertainty } from '@flowops/engine/commands/store-certainty.ts';
import { StoreUnavailable } from '@flowops/engine/store/run-store.ts';
import { describe, expect, it } from 'vitest';

const EVER = Number.NEGATIVE_INFINITY;

describe('StoreCertainty', () => {
  it('has no doubt of a store that was never lost', async () => {
    const world = harness();
    expect(world.certainty.sinceMs).toBe(EVER);
    expect(await world.certainty.isStill(EVER)).toBe(true);
  });

  it('knows nothing while the store is away, and what it knew when it is back unharmed', () => {
    const world = harness();
    world.store.state = 'down';
    expect(world.certainty.sinceMs).toBeUndefined();
    world.store.state = 'up';
    expect(world.certainty.sinceMs).toBe(EVER);
  });

  it('is certain anew from when every run has looked at what was lost', async () => {
    const world = harness();
    world.doubt();
    expect(world.certainty.sinceMs).toBeUndefined();
    await world.verified(7000);
    expect(world.certainty.sinceMs).toBe(7000);
  });

  it('waits for the last of several losses', async () => {
    const world = harness();
    world.doubt();
    world.doubt();
    await world.verified(7000);
    expect(world.certainty.sinceMs).toBeUndefined();
    await world.verified(8000);
    expect(world.certainty.sinceMs).toBe(8000);
  });

  it('asks the store whether it lives, and notices what happened meanwhile', async () => {
    const world = harness();
    world.store.fails = true;
    expect(await world.certainty.isStill(EVER)).toBe(false);
    world.store.fails = false;
    const asking = world.certainty.isStill(EVER);
    world.doubt();
    expect(await asking).toBe(false);
  });

  it('asks nobody where a write is on disk at once', async () => {
    const world = harness(0);
    world.store.fails = true;
    expect(await world.certainty.isStill(EVER)).toBe(true);
  });
});

function harness(delayMs = 2500) {
  let nowMs = 0;
  let tell: (() => void) | undefined;
  const verifying: (() => void)[] = [];
  const store = {
    state: 'up' as 'up' | 'down',
    fails: false,
    durability: { description: 'test', delayMs },
    onDoubt: (listener: () => void) => {
      tell = listener;
      return () => undefined;
    },
    clock: async () => {
      if (store.fails) throw new StoreUnavailable('away');
      return 0;
    },
  };
  const verify = () => new Promise<void>((resolve) => verifying.push(resolve));
  const certainty = new StoreCertainty({ store, verify, now: () => nowMs });
  return {
    certainty,
    store,
    doubt: () => tell?.(),
    /** The oldest look that is under way ends. */
    verified: async (atMs: number) => {
      nowMs = atMs;
      verifying.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}
