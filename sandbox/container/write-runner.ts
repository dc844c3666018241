/**
 * Used by Dockerfile.sandbox: `node sandbox/container/write-runner.ts FOLDER [HASH]` writes the runner's files to FOLDER,
 * with V8's code caches of this Node, which has to be the image's. With a HASH that is not the runner's own it fails: the
 * image's label `flowops.runner`, by which a host tells an image made from other sources than its own, would name
 * another runner than the image holds.
 */
import { buildRunner, runnerHash, writeRunner } from './runner-assets.ts';

const [folder, expected = ''] = process.argv.slice(2);
if (folder === undefined) throw new Error('give the folder to write into');
const texts = await buildRunner();
const hash = runnerHash(texts);
if (expected !== '' && expected !== hash) {
  throw new Error(`the runner built here is ${hash}, the label would say ${expected}: are the sources the same?`);
}
await writeRunner(folder, texts);
process.stdout.write(`runner ${hash}\n`);
