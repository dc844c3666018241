/**
 * Files of ours that are started as programs, or read, from beside the module that asks. In the clone they are
 * TypeScript, in a package they are what the packing made of them: the asking module's own extension says which.
 */
import { extname } from 'node:path';

/**
 * @param name from the asking module, without extension: `../sandbox/main`
 * @param asking its `import.meta.url`
 */
export function ownModule(name: string, asking: string): URL {
  return new URL(`${name}${extname(new URL(asking).pathname)}`, asking);
}

/** Whether this is an installed package: what a clone can do by `npm run …` cannot be done here. */
export const IS_PACKED = extname(new URL(import.meta.url).pathname) === '.js';
