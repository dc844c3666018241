/**
 * Fresh clones for tests that begin where a new user begins: the committed files with what the working tree changed,
 * nothing installed, and an environment without anything of the test run in it.
 */
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { npmAccess } from './npm-access.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout and stderr in the order they came. */
  readonly text: string;
}

/** What is told of a failed command: its end, where the reason is. */
const OUTPUT_MAX_CHARS = 1_000_000;

export function cloneProject(folder: string): void {
  git(ROOT, ['clone', '--quiet', '--no-hardlinks', ROOT, folder]);
  const changed = git(ROOT, ['diff', '--name-only', '-z', 'HEAD']);
  const added = git(ROOT, ['ls-files', '--others', '--exclude-standard', '-z']);
  for (const path of `${changed}${added}`.split('\0').filter((name) => name !== '')) {
    const source = join(ROOT, path);
    const target = join(folder, path);
    rmSync(target, { force: true });
    if (!existsSync(source)) continue;
    mkdirSync(dirname(target), { recursive: true });
    cpSync(source, target);
  }
}

export function git(cwd: string, args: readonly string[]): string {
  return execFileSync('git', [...args], { cwd, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
}

/** A Node in PATH that is not the one that runs this, with its version; undefined when there is none. */
export function findOlderNode(): { path: string; version: string } | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, 'node');
    if (folder === '' || !existsSync(path)) continue;
    const version = execFileSync(path, ['--version'], { encoding: 'utf8' }).trim();
    const major = Number(/^v(\d+)/.exec(version)?.[1]);
    if (major >= 18 && major < 24) return { path, version };
  }
  return undefined;
}

/** The command line of an npm release, installed once into the clone's cache folder. */
export async function npmCli(major: 11 | 12): Promise<string> {
  const folder = join(ROOT, '.cache', `npm-${major}`);
  const cli = join(folder, 'node_modules', 'npm', 'bin', 'npm-cli.js');
  const isMajor = (): boolean =>
    existsSync(cli) && readFileSync(join(dirname(cli), '..', 'package.json'), 'utf8').includes(`"version": "${major}.`);
  if (isMajor()) return cli;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true }));
  const args = ['install', '--no-audit', '--no-fund', '--prefix', folder, `npm@${major}`];
  const installed = await run('npm', args, { cwd: folder, env: bareEnvironment(dirname(process.execPath)) });
  if (!isMajor()) throw new Error(`npm@${major} could not be installed:\n${installed.text}`);
  return cli;
}

/** What a new shell of this machine would have, with `nodeFolder` first in PATH: nothing that npm or vitest set for this run. */
export function bareEnvironment(nodeFolder: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|NODE_(?!EXTRA_CA_CERTS)|VITEST|TEST$|DEV$|PROD$|MODE$|INIT_CWD$)/i.test(name),
  );
  return { ...Object.fromEntries(kept), ...npmAccess(), PATH: `${nodeFolder}${delimiter}${process.env.PATH ?? ''}` };
}

export function run(
  program: string,
  args: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv; signal?: AbortSignal },
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], {
      cwd: options.cwd,
      env: options.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.signal && { signal: options.signal }),
    });
    const ended = { stdout: '', stderr: '', text: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (chunk: string) => {
        ended[stream] = (ended[stream] + chunk).slice(-OUTPUT_MAX_CHARS);
        ended.text = (ended.text + chunk).slice(-OUTPUT_MAX_CHARS);
      });
    }
    child.once('error', reject);
    child.once('close', (code) => resolve({ ...ended, code }));
  });
}
