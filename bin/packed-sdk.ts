/** Where the packed `@flowops/sdk` is: in an installed package it lies beside this folder, in a clone it is made. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { PackedSdk } from '@flowops/proto/cli.ts';
import { ROOT, readVersion } from './node24.mjs';

/** In the package, below its root. */
export const PACKED_SDK = 'flowops-sdk.tgz';

export async function packedSdk(): Promise<PackedSdk> {
  const packed = join(ROOT, PACKED_SDK);
  if (existsSync(packed)) return { file: packed, version: readVersion() };
  const { keptSdk } = await import('./pack/kept-sdk.ts');
  return { file: await keptSdk(), version: readVersion() };
}
