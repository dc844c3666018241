/**
 * `npm run setup`, and the first thing that `npm run demo`, `npm test` and `npm run verify` do: on a machine with no
 * more than Node 18 and npm it brings Node 24 into `.node/` and the dependencies into `node_modules`.
 *
 * When everything is there it says nothing and takes some milliseconds. Two at a time wait for each other. Nothing
 * outside the clone is touched.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  absentPackages,
  findNode24,
  isNode24,
  missingPackages,
  NODE_NEEDED,
  NODE_RELEASE,
  ownNodePath,
  ownNodeProof,
  ROOT,
  versionOf,
} from './node24.mjs';
import { withLock } from './setup-lock.mjs';

/** How often a long download says that it still runs. */
const HEARTBEAT_MS = 10_000;
/** npm says first what is wrong, then how to call it; its whole output is in its own log file. */
const ERROR_HEAD_CHARS = 2_000;
/** The registry cannot be reached: npm's and Node's own codes for it. */
const OFFLINE =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b/;
/** Retries of npm's own defaults take over a minute before they tell that there is no network. */
const NPM_OPTIONS = [
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
  '--fetch-retries=2',
  '--fetch-retry-mintimeout=1000',
  '--fetch-retry-maxtimeout=5000',
];

/** A set-up that cannot go on; the message says what to do. */
export class SetupError extends Error {}

/**
 * Brings what is missing. Gives the path of a Node 24.
 *
 * @param {{ dev: boolean, say?: (line: string) => void, root?: string }} options
 *   dev: also what only tests and checks need; say: takes progress lines, by default on stderr
 */
export async function setUp({ dev, say = (line) => process.stderr.write(`${line}\n`), root = ROOT }) {
  const found = findNode24(root);
  if (found !== undefined && missingPackages({ dev, root }).length === 0) return found;
  return await withLock(join(root, '.cache', 'setup.lock'), say, async () => {
    const node = findNode24(root) ?? (await installNode({ say, root }));
    await installPackages({ node, dev, say, root });
    return node;
  });
}

export async function installNode({ say, root }) {
  const folder = join(root, '.node');
  say(
    `Node ${process.versions.node} runs this, ${NODE_NEEDED} is needed: installing ${NODE_RELEASE} into .node (about 50 MB, once)`,
  );
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // npm 12 runs no install script that is not allowed by name, and this package has its binary from one.
  const manifest = { private: true, dependencies: { node: NODE_RELEASE }, allowScripts: { node: true } };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  await npm(['install', '--ignore-scripts=false', '--no-package-lock'], { cwd: folder, say, what: 'Node 24' });
  // An install whose script was refused still exits 0: only a binary that runs is proof.
  const path = ownNodePath(root);
  const version = existsSync(path) ? versionOf(path) : '';
  if (!isNode24(version)) {
    throw new SetupError(
      `npm installed the package node@${NODE_RELEASE} without a binary that runs on this machine ` +
        `(${process.platform} ${process.arch}). Install ${NODE_NEEDED} another way and run this again with it first in PATH.`,
    );
  }
  writeFileSync(ownNodeProof(root), `${version}\n`);
  return path;
}

async function installPackages({ node, dev, say, root }) {
  const missing = missingPackages({ dev, root });
  if (missing.length === 0) return;
  const kind = dev ? 'packages for development' : 'packages';
  say(`installing ${missing.length} ${kind} into node_modules (the lock file's versions)`);
  // `ci` begins by removing node_modules, so what is there in part is completed by `install` instead.
  const isFresh = !existsSync(join(root, 'node_modules'));
  const command = isFresh ? ['ci'] : ['install', '--no-save'];
  await npm([...command, dev ? '--include=dev' : '--omit=dev'], { cwd: root, say, what: 'packages', node });
  const absent = absentPackages(root);
  if (absent.length > 0) throw new SetupError(`npm ended well, but these are still missing: ${absent.join(', ')}`);
}

/** Runs npm (under Node 24 when there is one) and tells how long it took. */
async function npm(args, { cwd, say, what, node = process.execPath }) {
  const startedMs = Date.now();
  const seconds = () => `${((Date.now() - startedMs) / 1000).toFixed(1)} s`;
  const heartbeat = setInterval(() => say(`  still installing ${what} (${seconds()})`), HEARTBEAT_MS);
  // Node 24 first in PATH: whatever npm starts takes it.
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` };
  const [program, ...first] = npmProgram(node);
  try {
    const { code, output } = await run(program, [...first, ...args, ...NPM_OPTIONS], { cwd, env });
    if (code !== 0) throw new SetupError(npmFailure(args[0], code, output));
  } finally {
    clearInterval(heartbeat);
  }
  say(`  ${what} ready in ${seconds()}`);
}

/** The npm that started us, run by this Node; else the one in PATH. */
function npmProgram(node) {
  const started = process.env.npm_execpath;
  if (started?.endsWith('npm-cli.js') && existsSync(started)) return [node, started];
  return process.platform === 'win32' ? ['npm.cmd'] : ['npm'];
}

function npmFailure(command, code, output) {
  if (OFFLINE.test(output)) {
    return "npm could not reach the package registry. Check the network (or npm's proxy settings) and run the same command again.";
  }
  return `npm ${command} failed with exit code ${code}:\n${output.trim()}`;
}

function run(program, args, { cwd, env }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: program.endsWith('.cmd'),
    });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(0, ERROR_HEAD_CHARS);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', (error) => reject(new SetupError(`${program} cannot be started: ${error.message}`)));
    child.once('close', (code) => resolve({ code, output }));
  });
}

/** For the bins: as setUp, but a failure ends the process with one clear message. */
export async function setUpOrExit(options) {
  try {
    return await setUp(options);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`set-up: ${error.message}\n`);
    process.exit(3);
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const node = await setUpOrExit({ dev: process.argv.includes('--dev') });
  process.stderr.write(`ready: ${versionOf(node)} at ${node}\n`);
}
