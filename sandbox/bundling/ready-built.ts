/**
 * The programs that a clone builds when a sandbox first starts: in a package they lie ready built, byte for byte those
 * that the clone would make, so that their hashes are those of its images.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { IS_PACKED } from '@flowops/proto/own-module.ts';

const FOLDER = path.join(import.meta.dirname, '..', 'built');

/** Undefined in a clone. */
export async function readReadyBuilt(name: string): Promise<string | undefined> {
  return IS_PACKED ? readFile(path.join(FOLDER, name), 'utf8') : undefined;
}
