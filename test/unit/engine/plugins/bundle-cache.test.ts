import { readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleCache } from '@flowops/engine/plugins/bundle-cache.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { beforeEach, expect, test } from 'vitest';
import { scratchFolder } from '../../../services/scratch.ts';
import { bundleBytes } from '../../../support/bundle-bytes.ts';

let dir: string;
const problems: string[] = [];
beforeEach(() => {
  dir = scratchFolder();
  problems.length = 0;
});

const BYTES = bundleBytes();
const DIGEST = digestOf(BYTES);
const fileOf = (digest: string) => join(dir, 'sha256', digest.slice('sha256:'.length));

function cache(options: { maxBytes?: number; memoryBytes?: number; pinned?: () => Promise<ReadonlySet<string>> } = {}) {
  return new BundleCache({ dir, onProblem: (message) => problems.push(message), ...options });
}

test('what was put is given back by a later process, companions included', async () => {
  await cache().put({ digest: DIGEST, bytes: BYTES, signature: '{}', sourceMap: '{"version":3}' });
  const later = cache();
  expect(await later.get(DIGEST)).toMatchObject({ digest: DIGEST, signature: '{}', sourceMap: '{"version":3}' });
  expect(await later.manifestOf(DIGEST)).toMatchObject({ name: 'core.hello', version: '1.0.0' });
});

test('a damaged file is a miss, is removed, and is said once', async () => {
  await cache().put({ digest: DIGEST, bytes: BYTES });
  await writeFile(fileOf(DIGEST), 'rubbish');
  const later = cache();
  expect(await later.get(DIGEST)).toBeUndefined();
  expect(await later.manifestOf(DIGEST)).toBeUndefined();
  expect(await readdir(join(dir, 'sha256'))).toEqual([]);
  expect(problems).toHaveLength(1);
});

test('bytes that changed in memory are not given out', async () => {
  const one = cache();
  const bytes = Uint8Array.from(BYTES);
  await one.put({ digest: DIGEST, bytes });
  bytes[bytes.length - 2] = 0x21;
  const given = await one.get(DIGEST);
  expect(given && digestOf(given.bytes)).toBe(DIGEST);
});

test('bytes under a digest that is not theirs are a bug of the caller', async () => {
  await expect(cache().put({ digest: digestOf(Buffer.from('x')), bytes: BYTES })).rejects.toThrow(/not theirs/);
});

test('what is no bundle is not taken', async () => {
  const bytes = Buffer.from('PK');
  expect(await cache().put({ digest: digestOf(bytes), bytes })).toMatchObject({ ok: false });
});

test('beyond its cap the least recently used goes, and a pinned one never', async () => {
  const bundles = Array.from({ length: 6 }, (_, n) =>
    bundleBytes({ code: `export default ${n}; ${' '.repeat(1_000)}` }),
  );
  const digests = bundles.map(digestOf);
  const size = bundles[0]?.length ?? 0;
  const one = cache({ maxBytes: size * 5, memoryBytes: 0, pinned: async () => new Set([digests[0] ?? '']) });
  for (const [n, bytes] of bundles.entries()) {
    await one.put({ digest: digests[n] ?? '', bytes });
    await utimes(fileOf(digests[n] ?? ''), n, n).catch(() => {});
  }
  const kept = await Promise.all(digests.map((digest) => one.get(digest).then((content) => content !== undefined)));
  expect(kept).toEqual([true, false, false, true, true, true]);
});

test('a disk that takes nothing costs no bundle that was just fetched', async () => {
  await writeFile(join(dir, 'sha256'), 'a file where the folder should be');
  const one = cache();
  expect(await one.put({ digest: DIGEST, bytes: BYTES })).toMatchObject({ ok: true });
  expect(await one.get(DIGEST)).toMatchObject({ digest: DIGEST });
  expect(problems.join()).toMatch(/cannot store/);
});

test('memory is bounded', async () => {
  const one = cache({ memoryBytes: BYTES.length + 10 });
  const other = bundleBytes({ code: 'other' });
  await one.put({ digest: DIGEST, bytes: BYTES });
  await one.put({ digest: digestOf(other), bytes: other });
  await writeFile(fileOf(DIGEST), 'rubbish');
  expect(await one.get(DIGEST)).toBeUndefined();
  await writeFile(fileOf(digestOf(other)), 'rubbish');
  expect(await one.get(digestOf(other))).toBeDefined();
});
