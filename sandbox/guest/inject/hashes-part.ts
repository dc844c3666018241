/** Hash functions from the part that the worker keeps; the bundler puts this in place of hashes.ts where there is such a worker. */
import type { Hashes } from './hashes.ts';
import { loadPart } from './parts.ts';

export const requireHashes = (): Hashes => loadPart('hashes') as Hashes;
