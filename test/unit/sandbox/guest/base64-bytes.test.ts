import { base64ToBytes, bytesToBase64 } from '@flowops/sandbox/guest/inject/fetch/base64-bytes.ts';
import { expect, test } from 'vitest';

const lengths = [0, 1, 2, 3, 4, 5, 6143, 6144, 6145, 6146, 100_000];

test.each(lengths)('%i bytes become the base64 that Node writes, and come back', (length) => {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 7919) & 255);
  const text = Buffer.from(bytes).toString('base64');
  expect(bytesToBase64(bytes)).toBe(text);
  expect(Buffer.from(base64ToBytes(text)).equals(bytes)).toBe(true);
});
