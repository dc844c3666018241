import { createRequire } from 'node:module';
import { assertSafe, isolatedVmManifest, isolatedVmVersion } from '@flowops/sandbox/isolate/isolated-vm-version.ts';
import { expect, test } from 'vitest';

test.each(['7.0.1', '7.0.2', '7.1.0', '8.0.0', '10.0.0'])('isolated-vm %s is taken', (version) => {
  expect(() => assertSafe(version)).not.toThrow();
});

test.each(['7.0.0', '7.0.1-beta.1', '6.2.0', '6.1.2', '5.0.4', '', 'main'])('isolated-vm %s is refused', (version) => {
  expect(() => assertSafe(version)).toThrow(
    expect.objectContaining({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/GHSA-864f-rcv7-6rh4.*Install 7\.0\.1 or later/),
    }),
  );
});

test('the one that is installed is safe', () => {
  expect(isolatedVmVersion()).toMatch(/^\d+\.\d+\.\d+$/);
});

test('one that is not installed is told with the command that says why', () => {
  const { resolve } = createRequire('/nowhere/at-all.js');
  expect(() => isolatedVmManifest({ resolve })).toThrow(
    expect.objectContaining({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/not installed.*npm install isolated-vm@/),
    }),
  );
  expect(isolatedVmManifest()).toMatch(/isolated-vm[\\/]package\.json$/);
});
