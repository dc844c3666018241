import { describe, expect, it, vi } from 'vitest';
import { AheadIsolates, type AheadShape } from '../../../../../sandbox/isolate/worker/ahead.ts';
import type { LoadedBundle } from '../../../../../sandbox/isolate/worker/bundles.ts';
import type { IsolateHome, Prepared, PreparedIsolate } from '../../../../../sandbox/isolate/worker/prepared-isolate.ts';

const SHAPE: AheadShape = {
  memoryMb: 64,
  isWasmAllowed: false,
  isDebugged: false,
  isKept: false,
  policyHash: 'p1',
  limits: '64,1',
};
const BUNDLE = { digest: 'sha256:a' } as LoadedBundle;

/** A factory that makes nothing, and turns of the event loop for it. */
function make() {
  const disposed: number[] = [];
  let made = 0;
  const prepare = vi.fn(async (_bundle: unknown, _shape: unknown, _kept?: IsolateHome): Promise<Prepared> => {
    const id = ++made;
    return { ok: true, isolate: { id, dispose: () => disposed.push(id) } as unknown as PreparedIsolate };
  });
  const ahead = new AheadIsolates({ prepare });
  ahead.usePolicy('p1');
  const settle = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  return { ahead, prepare, disposed, settle };
}

describe('isolates made ahead', () => {
  it('are for the same bundle with the same limits under the same policy', async () => {
    const { ahead, settle } = make();
    ahead.refill(BUNDLE, SHAPE);
    await settle();
    const others: [LoadedBundle, AheadShape][] = [
      [{ ...BUNDLE, digest: 'sha256:b' }, SHAPE],
      [BUNDLE, { ...SHAPE, limits: '64,2' }],
      [BUNDLE, { ...SHAPE, isWasmAllowed: true }],
      [BUNDLE, { ...SHAPE, isKept: true }],
      [BUNDLE, { ...SHAPE, policyHash: 'p2' }],
    ];
    for (const [bundle, shape] of others) expect(ahead.takeWaiting(bundle, shape)).toBeUndefined();
    expect(ahead.takeWaiting(BUNDLE, SHAPE)).toMatchObject({ id: 1 });
    expect(ahead.takeWaiting(BUNDLE, SHAPE)).toBeUndefined();
  });

  it('65: are dropped when a step under another policy comes, also those that are being made', async () => {
    const { ahead, disposed, settle } = make();
    ahead.refill(BUNDLE, SHAPE);
    await settle();
    ahead.refill(BUNDLE, SHAPE);
    ahead.usePolicy('p2');
    await settle();
    expect(disposed).toContain(1);
    expect(ahead.takeWaiting(BUNDLE, SHAPE)).toBeUndefined();
    ahead.refill(BUNDLE, SHAPE); // by a step that began before the reload
    await settle();
    ahead.usePolicy('p1');
    expect(ahead.takeWaiting(BUNDLE, SHAPE)).toBeUndefined();
  });

  it('take a kept isolate or dispose of it', async () => {
    const { ahead, prepare, settle } = make();
    const shape = { ...SHAPE, isKept: true };
    const homes = Array.from({ length: 6 }, () => ({ dispose: vi.fn() }));
    for (const home of homes) {
      ahead.refill(BUNDLE, shape, home as unknown as IsolateHome);
      await settle();
    }
    expect(prepare.mock.calls.map(([, , kept]) => kept)).toEqual(homes.slice(0, 4));
    expect(homes.map(({ dispose }) => dispose.mock.calls.length)).toEqual([0, 0, 0, 0, 1, 1]);
    ahead.usePolicy('p2');
    const late = { dispose: vi.fn() };
    ahead.refill(BUNDLE, shape, late as unknown as IsolateHome);
    expect(late.dispose).toHaveBeenCalledOnce();
  });
});
