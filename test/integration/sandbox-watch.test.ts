/** `flowops sandbox run --watch` as a person uses it: the real program, the real sandbox, files that change. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { runReportSchema } from '@flowops/sandbox/cli/reports.ts';
import { afterEach, describe, expect, test } from 'vitest';
import { sourceTree } from '../support/source-tree.ts';

const FLOWOPS = new URL('../../bin/flowops.ts', import.meta.url).pathname;

const plugin = (run: string) => `import { word } from './word.ts';
import { defineTask } from '@flowops/sdk';

export default defineTask({
  name: 'test.watched',
  version: '1.0.0',
  inputs: { name: { type: 'string', default: 'nobody' } },
  outputs: { message: { type: 'string' } },
  ${run}
});
`;
const GREETS = plugin('run: ({ inputs }) => ({ message: `${word} ${inputs.name}` }),');
const WAITS = plugin(`async run({ context, logger }) {
    logger.info('waiting', { word });
    await new Promise<void>((resolve) => context.signal.addEventListener('abort', () => resolve()));
    logger.info('was told to stop');
    return { message: word };
  },`);

/** A watch whose output is read as it comes. */
class Watch {
  readonly folder: string;
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  stdout = '';
  stderr = '';
  /** Up to where each stream was looked at. */
  readonly #seen = { stdout: 0, stderr: 0 };
  #onData = (): void => {};

  constructor(files: Readonly<Record<string, string>>, ...args: readonly string[]) {
    this.folder = sourceTree(files);
    this.child = spawn(process.execPath, ['--', FLOWOPS, 'sandbox', 'run', '.', '--watch', ...args], {
      cwd: this.folder,
      env: { PATH: process.env.PATH ?? '', FLOWOPS_HOME: path.join(this.folder, '.flowops') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of ['stdout', 'stderr'] as const) {
      this.child[stream]?.setEncoding('utf8').on('data', (text: string) => {
        this[stream] += text;
        this.#onData();
      });
    }
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code) => {
        resolve(code);
        this.#onData();
      });
    });
  }

  write(name: string, text: string): void {
    writeFileSync(path.join(this.folder, name), text);
  }

  /** Resolves when the words were printed after those of the last call. */
  async says(stream: 'stdout' | 'stderr', words: string): Promise<void> {
    for (;;) {
      const at = this[stream].indexOf(words, this.#seen[stream]);
      if (at >= 0) {
        this.#seen[stream] = at + words.length;
        return;
      }
      if (this.child.exitCode !== null) throw new Error(`it ended without "${words}":\n${this.stdout}${this.stderr}`);
      await new Promise<void>((resolve) => {
        this.#onData = resolve;
      });
    }
  }
}

const watches: Watch[] = [];
function watch(files: Readonly<Record<string, string>>, ...args: readonly string[]): Watch {
  const started = new Watch({ 'package.json': '{"main":"plugin.ts"}', ...files }, ...args);
  watches.push(started);
  return started;
}
afterEach(async () => {
  for (const { child, ended } of watches.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
});

const WORD = "export const word = 'hello';\n";

describe('sandbox run --watch', () => {
  test('runs again when a file changes that the plugin imports, keeps the last good build, ends with Ctrl-C', async () => {
    const run = watch({ 'plugin.ts': GREETS, 'word.ts': WORD }, '--input', 'name=Ada');
    await run.says('stdout', 'message = "hello Ada"');
    await run.says('stderr', 'watching for changes (Ctrl-C ends)');
    run.write('word.ts', "export const word = 'good day';\n");
    await run.says('stderr', 'changed: word.ts');
    await run.says('stdout', 'message = "good day Ada"');
    run.write('word.ts', 'export const word = ;\n');
    await run.says('stderr', 'failed: PLUGIN_INVALID: word.ts:1:21: ');
    await run.says('stderr', '1 | export const word = ;');
    await run.says('stderr', 'watching for changes');
    run.write('word.ts', "export const word = 'good night';\n");
    await run.says('stdout', 'message = "good night Ada"');
    await run.says('stderr', 'watching for changes');
    run.child.kill('SIGINT');
    expect(await run.ended).toBe(130);
  });

  test('lets a run go on while the next build fails, and stops it for one that is good', async () => {
    const run = watch({ 'plugin.ts': WAITS, 'word.ts': WORD });
    await run.says('stderr', 'waiting  word=hello');
    run.write('word.ts', "export const wrod = 'typo';\n");
    await run.says('stderr', 'No matching export');
    await run.says('stderr', 'the run of the last good build goes on');
    expect(run.stderr).not.toContain('was told to stop');
    run.write('word.ts', "export const word = 'again';\n");
    await run.says('stderr', 'stopping the run of the build before');
    await run.says('stderr', 'was told to stop');
    await run.says('stderr', 'waiting  word=again');
    run.child.kill('SIGINT');
    await run.says('stderr', 'was told to stop');
    expect(await run.ended).toBe(130);
  });

  test('reads its inputs again when their file changes, one line of JSON for each run', async () => {
    const files = { 'plugin.ts': GREETS, 'word.ts': WORD, 'inputs.json': '{"name":"Ada"}' };
    const run = watch(files, '--inputs', 'inputs.json', '--json');
    await run.says('stdout', 'hello Ada');
    await run.says('stderr', 'watching for changes');
    run.write('inputs.json', '{"name":');
    await run.says('stdout', 'inputs.json is not JSON');
    run.write('inputs.json', '{"name":"Bob"}');
    await run.says('stdout', 'hello Bob');
    run.child.kill('SIGINT');
    expect(await run.ended).toBe(130);
    const reports = run.stdout
      .trimEnd()
      .split('\n')
      .map((line) => runReportSchema.parse(JSON.parse(line)));
    expect(reports.map(({ status, code }) => code ?? status)).toEqual(['COMPLETED', 'USAGE_INVALID', 'COMPLETED']);
  });

  test('is told to wait for a plugin that was broken from the start', async () => {
    const run = watch({ 'plugin.ts': 'export default {\n', 'word.ts': WORD });
    await run.says('stderr', 'failed: PLUGIN_INVALID: plugin.ts:2:1: ');
    run.write('plugin.ts', GREETS);
    await run.says('stdout', 'message = "hello nobody"');
    run.child.kill('SIGINT');
    expect(await run.ended).toBe(130);
  });

  test.each([
    ['a plugin that is not there', ['gone.ts'], 1, 'there is no such file or folder'],
    ['a debugger', ['.', '--inspect'], 2, 'leave --watch out'],
  ])('with %s ends at once', async (_what, [name = '', ...args], code, words) => {
    const folder = sourceTree({ 'plugin.ts': GREETS, 'word.ts': WORD });
    const child = spawn(process.execPath, ['--', FLOWOPS, 'sandbox', 'run', name, '--watch', ...args], {
      cwd: folder,
      env: { PATH: process.env.PATH ?? '', FLOWOPS_HOME: path.join(folder, '.flowops') },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(code);
    expect(said).toContain(words);
  });
});
