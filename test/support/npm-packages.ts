/**
 * The folder of much-used packages (test/fixtures/npm-packages): installed once for each state of its lock, without
 * install scripts.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { bareEnvironment, ROOT, run } from './clone.ts';

const FOLDER = path.join(ROOT, 'test', 'fixtures', 'npm-packages');
const INSTALL = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];

/** Once for each test process; a second process that comes at the same time would be a test file of its own. */
export async function installNpmPackages(): Promise<void> {
  const stamp = path.join(FOLDER, 'node_modules', '.installed');
  const lock = createHash('sha256')
    .update(readFileSync(path.join(FOLDER, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  const env = bareEnvironment(path.dirname(process.execPath));
  const installed = await run('npm', INSTALL, { cwd: FOLDER, env });
  if (installed.code !== 0) throw new Error(`the packages could not be installed:\n${installed.text}`);
  writeFileSync(stamp, lock);
}

/** The plugin that uses a package: `@octokit/core` is in octokit-core.js. */
export function pluginUsing(name: string): string {
  return path.join(FOLDER, 'plugins', `${name.replace(/^@/, '').replace('/', '-')}.js`);
}

/** "4.18.1", as the folder's package.json pins it. */
export function pinnedVersions(): Readonly<Record<string, string>> {
  const text = readFileSync(path.join(FOLDER, 'package.json'), 'utf8');
  return z.object({ devDependencies: z.record(z.string(), z.string()) }).parse(JSON.parse(text)).devDependencies;
}
