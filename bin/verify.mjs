/**
 * `npm run verify`: everything that has to hold before a change is taken. Format, lint and types, then all stages of
 * `npm test`, all of them also after a failure. Each check counts as one in the last line, `N passed, N failed`.
 */
import { spawn } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';
import { ROOT } from './node24.mjs';
import { setUpOrExit } from './setup.mjs';
import { runStages, STAGES, say, secondsSince } from './stages.mjs';

/** Enough to see what kind of mistake it is; colours only get in the way of a log. */
const BIOME_OUTPUT = ['--max-diagnostics=20', ...(process.stdout.isTTY ? [] : ['--colors=off'])];

const CHECKS = [
  { name: 'format and lint', command: ['biome', 'check', '--error-on-warnings', ...BIOME_OUTPUT, '.'] },
  { name: 'types', command: ['tsc', '--noEmit'] },
];

const startedMs = Date.now();
say(`plan: ${[...CHECKS, ...STAGES].map(({ name }) => name).join(', ')}`);
const node = await setUpOrExit({ dev: true });
const total = { passed: 0, failed: 0 };
for (const { name, command } of CHECKS) {
  say(`\n── ${name} ──`);
  const checkStartedMs = Date.now();
  const isGood = await succeeds(command);
  total[isGood ? 'passed' : 'failed'] += 1;
  say(`  ${name}: ${isGood ? 'passed' : 'FAILED'}, ${secondsSince(checkStartedMs)}`);
}
const tests = await runStages({ node, names: STAGES.map(({ name }) => name) });
say(`\nall of it took ${secondsSince(startedMs)}`);
say(`${total.passed + tests.passed} passed, ${total.failed + tests.failed} failed`);
process.exitCode = total.failed + tests.failed === 0 && tests.passed > 0 ? 0 : 1;

function succeeds([tool, ...args]) {
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` };
  const child = spawn(join(ROOT, 'node_modules', '.bin', tool), args, { cwd: ROOT, env, stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code === 0));
  });
}
