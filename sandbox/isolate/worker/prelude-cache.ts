/**
 * The code cache of the prelude, as isolates take it: warmed-cache.ts makes it, because isolated-vm makes one only right
 * after compiling. Before any guest's code ran in this process.
 */
import ivm from 'isolated-vm';
import { warmedCache } from '../../guest/warmed-cache.ts';

/** Undefined when the warm-up did not come to its end: isolates are then slower, not wrong. */
export async function warmPreludeCache(
  prelude: string,
  filename: string,
): Promise<ivm.ExternalCopy<ArrayBuffer> | undefined> {
  const data = await warmedCache(prelude, filename);
  if (data === undefined) return undefined;
  const bytes = new ArrayBuffer(data.length);
  new Uint8Array(bytes).set(data);
  return new ivm.ExternalCopy(bytes);
}
