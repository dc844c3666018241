/**
 * Runs the test projects as stages, one after the other, and counts from vitest's own report what really ran. Shared
 * by `npm test` and `npm run verify`. Plain JavaScript; vitest itself runs under the Node 24 that is given.
 *
 * A skipped test is a failure unless it says why: nothing passes by not running. So is a stage without tests, a file
 * that could not be loaded, and a vitest that ended badly for another reason.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './node24.mjs';

export const STAGES = [
  { name: 'unit', about: 'each module by itself, no services' },
  { name: 'contract', about: 'one suite for every implementation of an interface' },
  { name: 'integration', about: 'parts together, real Kafka, Redis and Docker' },
  { name: 'adversarial', about: 'hostile plugins, peers and bundles, in real isolates and containers' },
  { name: 'e2e', about: 'the commands as a person types them' },
  { name: 'simulation', about: 'whole engines in a simulated world, many seeds (npm run simulate: more of them)' },
  {
    name: 'chaos',
    about: 'engines, hosts and services killed, frozen and cut off under load (npm run chaos: more of it)',
  },
  { name: 'mutation', about: 'engines broken on purpose, which the simulation and chaos have to catch' },
];

/** The longest takes seven minutes on two cores, and more where images have to be built first; one that takes this hangs. */
const STAGE_MAX_MS = 30 * 60_000;
/** vitest stops the services it started within this; then it is ended. */
const STOP_GRACE_MS = 20_000;

/**
 * @param {{ node: string, names: readonly string[] }} options
 * @returns {Promise<{ passed: number, failed: number }>}
 */
export async function runStages({ node, names }) {
  const total = { passed: 0, failed: 0 };
  const lines = [];
  for (const name of names) {
    say(`\n── ${name} ──`);
    const startedMs = Date.now();
    const counts = await runStage(node, name);
    total.passed += counts.passed;
    total.failed += counts.failed;
    for (const problem of counts.problems) say(`  ${problem}`);
    lines.push(`  ${name.padEnd(12)} ${counts.passed} passed, ${counts.failed} failed, ${secondsSince(startedMs)}`);
    say(lines.at(-1));
    if (stopSignal !== undefined) break;
  }
  if (names.length > 1) say(['', 'stages:', ...lines].join('\n'));
  return total;
}

export function secondsSince(startedMs) {
  return `${((Date.now() - startedMs) / 1000).toFixed(1)} s`;
}

export function say(line) {
  process.stdout.write(`${line}\n`);
}

async function runStage(node, name) {
  const folder = join(ROOT, '.cache', 'test-reports');
  const report = join(folder, `${name}.json`);
  mkdirSync(folder, { recursive: true });
  rmSync(report, { force: true });
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const args = ['run', '--project', name, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const end = await runVitest(node, [vitest, ...args]);
  return countReport(readReport(report), end);
}

let stopSignal;

function runVitest(node, args) {
  return new Promise((resolve) => {
    // vitest colours its lines also in a pipe, where they only get in the way.
    const env = process.stdout.isTTY ? process.env : { ...process.env, NO_COLOR: '1' };
    const child = spawn(node, args, { cwd: ROOT, env, stdio: ['ignore', 'inherit', 'inherit'] });
    let killTimer;
    const stop = (signal, why) => {
      stopSignal ??= signal;
      say(`  stopping: ${why}`);
      child.kill(signal);
      killTimer ??= setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
    };
    const limit = setTimeout(() => stop('SIGTERM', `longer than ${STAGE_MAX_MS / 60_000} minutes`), STAGE_MAX_MS);
    const onInterrupt = () => stop('SIGINT', 'interrupted');
    const onTerminate = () => stop('SIGTERM', 'told to end');
    process.on('SIGINT', onInterrupt);
    process.on('SIGTERM', onTerminate);
    const settle = (end) => {
      clearTimeout(limit);
      clearTimeout(killTimer);
      process.off('SIGINT', onInterrupt);
      process.off('SIGTERM', onTerminate);
      resolve(end);
    };
    child.once('error', (error) => settle(`vitest could not be started: ${error.message}`));
    child.once('close', (code, signal) => settle(code === 0 ? undefined : `vitest ended with ${signal ?? code}`));
  });
}

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * @param {object | undefined} report vitest's JSON report
 * @param {string | undefined} end how vitest ended, when not well
 * @returns {{ passed: number, failed: number, problems: string[] }}
 */
export function countReport(report, end) {
  const counts = { passed: 0, failed: 0, problems: [] };
  if (report === undefined) return { ...counts, failed: 1, problems: [end ?? 'vitest wrote no report'] };
  for (const file of report.testResults ?? []) {
    const failedBefore = counts.failed;
    for (const test of file.assertionResults ?? []) countTest(test, counts);
    if (file.status === 'failed' && counts.failed === failedBefore) {
      counts.failed += 1;
      counts.problems.push(`failed as a whole: ${file.name}: ${file.message}`);
    }
  }
  if (counts.passed + counts.failed === 0) {
    counts.failed += 1;
    counts.problems.push('no test ran');
  } else if (end !== undefined && counts.failed === 0) {
    counts.failed += 1;
    counts.problems.push(`every test passed, but ${end}: see the errors above`);
  }
  return counts;
}

function countTest(test, counts) {
  if (test.status === 'passed') {
    counts.passed += 1;
  } else if (test.status === 'failed') {
    counts.failed += 1;
  } else if (typeof test.meta?.skipReason === 'string') {
    counts.problems.push(`skipped: ${test.fullName}: ${test.meta.skipReason}`);
  } else {
    counts.failed += 1;
    counts.problems.push(`did not run and does not say why (${test.status}): ${test.fullName}`);
  }
}
