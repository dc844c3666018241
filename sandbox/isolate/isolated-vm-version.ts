/**
 * Which isolated-vm there is, and that it is one whose guests are not known to reach the memory of their process
 * (https://github.com/laverdet/isolated-vm/security/advisories/GHSA-864f-rcv7-6rh4: up to 7.0.0, mended in 7.0.1).
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { FlowopsError } from '@flowops/proto/errors.ts';
import semver from 'semver';
import { z } from 'zod';

/** 6.2.0 holds the same mend for older Node versions, on which nothing of ours runs. */
export const OLDEST_SAFE = '7.0.1';

const packageSchema = z.object({ version: z.string() });

/**
 * The path of its package.json.
 * @throws FlowopsError CONFIG_INVALID where it is not installed: npm leaves it out where it can neither be had nor built
 */
export function isolatedVmManifest(
  require: { resolve(name: string): string } = createRequire(import.meta.url),
): string {
  try {
    return require.resolve('isolated-vm/package.json');
  } catch (thrown) {
    throw new FlowopsError(
      'CONFIG_INVALID',
      `isolated-vm is not installed, and no sandbox host starts without it: it has no build for this machine ` +
        `(${process.platform} ${process.arch}), or the install left it out; \`npm install isolated-vm@${OLDEST_SAFE}\` says why`,
      { cause: thrown },
    );
  }
}

/** @throws FlowopsError CONFIG_INVALID when it is older than the first safe one. */
export function isolatedVmVersion(): string {
  const { version } = packageSchema.parse(JSON.parse(readFileSync(isolatedVmManifest(), 'utf8')));
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
