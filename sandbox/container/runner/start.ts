/**
 * The file that Node is started with in a step container: `node runner.cjs [INPUT_FD OUTPUT_FD [CPU_CLOCK_RATE]]`. Runs
 * program.js, which lies beside it, out of V8's code cache where there is one: compiling the program takes longer than
 * Node's own start. V8 refuses a cache that another V8 or another text made, and the program is then compiled as ever.
 *
 * With `--keep-cache FILE` in the arguments the cache is written when the process ends: write-runner.ts does that once,
 * after a step of ours, so that the functions that a step needs are in it too.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import vm from 'node:vm';
import { PROGRAM_CACHE_FILE, PROGRAM_FILE, readCache, readText } from './files.ts';

const folder = path.dirname(process.argv[1] ?? '');
const [, , ...given] = process.argv;
const keepAt = given.indexOf('--keep-cache');
const cacheFile = keepAt < 0 ? undefined : given[keepAt + 1];

const cachedData = cacheFile === undefined ? readCache(folder, PROGRAM_CACHE_FILE) : undefined;
const script = new vm.Script(readText(folder, PROGRAM_FILE), {
  filename: PROGRAM_FILE,
  ...(cachedData === undefined ? {} : { cachedData }),
});
const program = script.runInThisContext() as (need: NodeJS.Require) => void;
if (cacheFile !== undefined) process.on('exit', () => writeFileSync(cacheFile, script.createCachedData()));
program(require);
