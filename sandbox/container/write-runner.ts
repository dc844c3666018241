/**
 * Used by Dockerfile.sandbox: `node sandbox/container/write-runner.ts FILE [HASH]` writes the runner's bundle to FILE.
 * With a HASH that is not the bundle's own it fails: the image's label `flowops.runner`, by which a host tells an image
 * made from other sources than its own, would name another runner than the image holds.
 */
import { writeFile } from 'node:fs/promises';
import { buildRunner, runnerHash } from './runner-assets.ts';

const [file, expected = ''] = process.argv.slice(2);
if (file === undefined) throw new Error('give the file to write');
const bundle = await buildRunner();
const hash = runnerHash(bundle);
if (expected !== '' && expected !== hash) {
  throw new Error(`the runner built here is ${hash}, the label would say ${expected}: are the sources the same?`);
}
await writeFile(file, bundle.text);
process.stdout.write(`runner ${hash}\n`);
