/** The project's own source files, for tests about the sources themselves: what git knows plus what is new. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

/** Written by a generator; held to the generator's rules. */
const GENERATED = /_pb\.(js|d\.ts)$/;

/** Paths from the root, `/` between folders. Ignored files (node_modules, caches) are not among them. */
export function projectFiles(): readonly string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 16 * 1024 * 1024,
  });
  const paths = listed.split('\0').filter((path) => path !== '' && existsSync(`${ROOT}/${path}`));
  return [...new Set(paths)].sort();
}

/** Hand-written TypeScript and JavaScript. Fixtures are what they have to be, so they are left out. */
export function codeFiles(): readonly string[] {
  return projectFiles().filter(
    (path) => /\.(ts|mts|mjs|js)$/.test(path) && !GENERATED.test(path) && !path.startsWith('test/fixtures/'),
  );
}

export function readProjectFile(path: string): string {
  return readFileSync(`${ROOT}/${path}`, 'utf8');
}
