/**
 * Which isolated-vm there is, and that it is one whose guests are not known to reach the memory of their process
 * (https://github.com/laverdet/isolated-vm/security/advisories/GHSA-864f-rcv7-6rh4: up to 7.0.0, mended in 7.0.1).
 */
import { createRequire } from 'node:module';
import { FlowopsError } from '@flowops/proto/errors.ts';
import semver from 'semver';
import { z } from 'zod';

/** 6.2.0 holds the same mend for older Node versions, on which nothing of ours runs. */
export const OLDEST_SAFE = '7.0.1';

const packageSchema = z.object({ version: z.string() });

/** @throws FlowopsError CONFIG_INVALID when it is older than the first safe one. */
export function isolatedVmVersion(): string {
  const { version } = packageSchema.parse(createRequire(import.meta.url)('isolated-vm/package.json'));
  assertSafe(version);
  return version;
}

/** What cannot be read as a version is not safe either. */
export function assertSafe(version: string): void {
  if (semver.valid(version) !== null && semver.gte(version, OLDEST_SAFE)) return;
  throw new FlowopsError(
    'CONFIG_INVALID',
    `isolated-vm ${version} lets guest code into the memory of its process (GHSA-864f-rcv7-6rh4); no host starts with ` +
      `it. Install ${OLDEST_SAFE} or later: \`npm install\` where FlowOps is installed does`,
  );
}
