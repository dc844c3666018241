import { describe, expect, it } from 'vitest';
import type { StoredBundle } from '../../../../sandbox/bundles/bundle-store.ts';
import { BundlesInUse } from '../../../../sandbox/bundles/bundles-in-use.ts';

const bundle = (digest: string, bytes: number) => ({ digest, bytes: new Uint8Array(bytes) }) as StoredBundle;

describe('bundles that attempts keep alive', () => {
  it('are refused beyond their bytes together, each counted once', () => {
    const inUse = new BundlesInUse(100);
    const [a, b, c] = [bundle('a', 60), bundle('b', 40), bundle('c', 1)];
    expect([a, a, a, b, c].map((one) => inUse.take(one))).toEqual([true, true, true, true, false]);
    inUse.release(a);
    inUse.release(a);
    expect(inUse.take(c)).toBe(false);
    inUse.release(a);
    expect(inUse.take(c)).toBe(true);
  });

  it('never refuse one that is alone', () => {
    const inUse = new BundlesInUse(100);
    expect(inUse.take(bundle('a', 500))).toBe(true);
    expect(inUse.take(bundle('b', 1))).toBe(false);
    inUse.release(bundle('a', 500));
    expect(inUse.take(bundle('b', 1))).toBe(true);
  });
});
