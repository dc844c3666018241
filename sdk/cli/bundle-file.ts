/** A built bundle as `plugin publish` and `plugin sign` are given it: a path on this machine. */
import { readFile, stat } from 'node:fs/promises';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';

/** @throws FlowopsError when there is none, or it is larger than a bundle may be. What is in it is not looked at. */
export async function readBundle(file: string): Promise<Uint8Array> {
  const status = await stat(file).catch(() => undefined);
  if (status?.isFile() !== true) {
    throw new FlowopsError('USAGE_INVALID', `${file}: there is no such file; \`flowops plugin build\` makes one`);
  }
  if (status.size > MAX_BUNDLE_BYTES) {
    throw new FlowopsError(
      'PLUGIN_INVALID',
      `${file} has ${status.size} bytes; a bundle has at most ${MAX_BUNDLE_BYTES}`,
    );
  }
  return await readFile(file);
}
