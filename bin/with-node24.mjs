/**
 * Runs a tool of node_modules (`biome`, `tsc`, `buf`), or a file of ours, under Node 24:
 * `node bin/with-node24.mjs biome lint .` or `node bin/with-node24.mjs bin/reference.ts`.
 */
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { findNode24, NODE_NEEDED, ROOT, SETUP_COMMAND } from './node24.mjs';
import { runAs } from './run-as.mjs';

const [tool, ...args] = process.argv.slice(2);
const node = findNode24();
if (tool === undefined) {
  fail('give the name of a tool in node_modules/.bin, or a file');
} else if (node === undefined) {
  fail(`${NODE_NEEDED} is missing; to install it into this folder: ${SETUP_COMMAND}`);
} else {
  const installed = join(ROOT, 'node_modules', '.bin', tool);
  const file = existsSync(installed) ? installed : join(ROOT, tool);
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` };
  // Tools are started by their own first line or link; a TypeScript or JavaScript file of ours by Node.
  if (/\.(mjs|ts)$/.test(file)) await runAs(node, [file, ...args], { env });
  else if (existsSync(file)) await runAs(file, args, { env });
  else fail(`${tool} is not installed; to install what is missing: ${SETUP_COMMAND} -- --dev`);
}

function fail(message) {
  process.exitCode = 2;
  process.stderr.write(`${message}\n`);
}
