/** Bundles for tests that never run them: a true manifest line and a line of code. */
import { checkManifest, formatManifestLine } from '@flowops/proto/manifest.ts';

export interface BundleWish {
  readonly name?: string;
  readonly version?: string;
  /** Makes other bytes of the same plugin. */
  readonly code?: string;
  readonly inputs?: Record<string, { type: string }>;
  readonly outputs?: Record<string, { type: string }>;
}

export function bundleBytes(wish: BundleWish = {}): Uint8Array {
  const { name = 'core.hello', version = '1.0.0', inputs = {}, outputs = {}, code = 'export default class {}' } = wish;
  const checked = checkManifest({ name, version, inputs, outputs });
  if (!checked.ok) throw new Error(checked.problem);
  return Buffer.from(`${formatManifestLine(checked.manifest)}${code}\n`);
}
