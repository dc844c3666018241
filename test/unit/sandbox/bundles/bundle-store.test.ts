import { describe, expect, it } from 'vitest';
import { BundleStore } from '../../../../sandbox/bundles/bundle-store.ts';

const bundle = (digest: string, filler: number) => ({
  digest,
  bytes: Buffer.from(`//! flowops-plugin {"name":"x","version":"1.0.0"}\n${' '.repeat(filler)}`),
});

describe('the store of bundles', () => {
  it('gives a bundle back with its manifest', () => {
    const store = new BundleStore();
    expect(store.add(bundle('a', 0))).toMatchObject({ ok: true, bundle: { manifest: { name: 'x' } } });
    expect(store.get('a')?.digest).toBe('a');
    expect(store.get('b')).toBeUndefined();
  });

  it('drops the least recently used ones when it is full, never the newest', () => {
    const store = new BundleStore(1000);
    store.add(bundle('a', 300));
    store.add(bundle('b', 300));
    store.get('a');
    store.add(bundle('c', 300));
    expect(['a', 'b', 'c'].map((digest) => store.get(digest) !== undefined)).toEqual([true, false, true]);
    store.add(bundle('huge', 5000));
    expect(['a', 'c', 'huge'].map((digest) => store.get(digest) !== undefined)).toEqual([false, false, true]);
  });

  it('keeps nothing that has no manifest of ours', () => {
    const store = new BundleStore();
    expect(store.add({ digest: 'a', bytes: Buffer.from('export {}') })).toMatchObject({ ok: false });
    expect(store.get('a')).toBeUndefined();
  });
});
