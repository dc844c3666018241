/** The files of a runner, side by side in one folder of the image; runner-assets.ts makes them. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** What Node is started with. */
export const START_FILE = 'runner.cjs';
/** All the rest, as one function of `require`. */
export const PROGRAM_FILE = 'program.js';
export const PROGRAM_CACHE_FILE = 'program.cache';
/** The guest's prelude, as one expression. */
export const PRELUDE_FILE = 'prelude.js';
export const PRELUDE_CACHE_FILE = 'prelude.cache';
/** Shown in stacks of ours, which own-frames.ts cuts out. */
export const PRELUDE_NAME = 'flowops:prelude';

/** ASCII, which V8 keeps at one byte a character when it is read so. */
export function readText(folder: string, file: string): string {
  return readFileSync(path.join(folder, file), 'latin1');
}

/** Undefined where there is none: everything works, more slowly. */
export function readCache(folder: string, file: string): Buffer | undefined {
  try {
    return readFileSync(path.join(folder, file));
  } catch {
    return undefined;
  }
}
