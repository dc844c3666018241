/** What can be wrong with a compiled plugin before a sandbox has seen it. */
import { readFile } from 'node:fs/promises';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import type { Loader } from 'esbuild';
import type { BuildProblem } from './build-result.ts';
import type { Compiled } from './compile.ts';
import { taskPlace } from './declaration-place.ts';

/** Files named when a bundle is too large. */
const LARGEST_FILES = 5;
const MEBIBYTE = 1024 * 1024;

/** As esbuild prints code: a declaration begins its line, comments are gone. */
const DECORATED_CLASS = /^\s*(?:export\s+(?:default\s+)?)?@(?:[\w$]+\.)?TaskType\(/gm;
const DEFINED_TASK = /^(?:export default |(?:export )?(?:const|let|var) [\w$]+ = )(?:[\w$]+\.)?defineTask\(/gm;

/** One task, exported as default: anything else would be left out of the bundle in silence. */
export async function exportProblem(
  compiled: Compiled,
  file: string,
  display: (file: string) => string,
): Promise<BuildProblem | undefined> {
  const source = await readFile(file, 'utf8');
  const tasks = await countDeclaredTasks(source, file);
  if (tasks > 1) {
    return {
      file: display(file),
      ...taskPlace(source, 1),
      message: `this file declares ${tasks} tasks, and a plugin is one: move each into a file of its own`,
    };
  }
  if (compiled.exports.includes('default')) return undefined;
  const named = compiled.exports.length === 0 ? 'nothing' : `only ${compiled.exports.slice(0, 5).join(', ')}`;
  return {
    file: display(file),
    ...taskPlace(source, 0),
    message:
      `a plugin is the default export of its file, and this one exports ${named}. ` +
      'Write `export default class … extends BaseTask` under @TaskType, or `export default defineTask({ … })`',
  };
}

/** The cap of design 6.1, with what takes the room. */
export function sizeProblem(compiled: Compiled, file: string): BuildProblem | undefined {
  const bytes = Buffer.byteLength(compiled.code);
  if (bytes <= MAX_BUNDLE_BYTES) return undefined;
  const largest = [...compiled.bytesOf]
    .sort((a, b) => b[1] - a[1])
    .slice(0, LARGEST_FILES)
    .map(([name, size]) => `  ${mebibytes(size).padStart(10)}  ${name}`);
  return {
    file,
    message: `the bundle has ${mebibytes(bytes)}; at most ${mebibytes(MAX_BUNDLE_BYTES)} are allowed. The largest files in it:\n${largest.join('\n')}`,
  };
}

async function countDeclaredTasks(source: string, file: string): Promise<number> {
  const { transform } = await import('esbuild');
  const loader: Loader = /ts$/.test(file) ? 'ts' : 'js';
  const { code } = await transform(source, { loader, target: 'esnext', legalComments: 'none', logLevel: 'silent' });
  return (code.match(DECORATED_CLASS)?.length ?? 0) + (code.match(DEFINED_TASK)?.length ?? 0);
}

function mebibytes(bytes: number): string {
  return `${(bytes / MEBIBYTE).toFixed(1)} MiB`;
}
