import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isShown, readPage } from '../../support/docs-page.ts';
import { type PageOptions, type PageRun, runMarkdown } from '../../support/docs-runner.ts';
import { commandsOf } from '../../support/docs-shell.ts';

const FENCE = '```';

function fence(info: string, text: string): string {
  return `${FENCE}${info}\n${text}\n${FENCE}\n`;
}

async function follow(
  markdown: string,
  signal: AbortSignal,
  options: PageOptions = {},
): Promise<{ run: PageRun; read: (path: string) => string }> {
  let folder = '';
  const after = (world: { folder: string }): void => {
    folder = world.folder;
  };
  const run = await runMarkdown('page.md', markdown, { hasCommand: false, ...options, after }, signal);
  return { run, read: (path) => readFileSync(join(folder, path), 'utf8') };
}

describe('what a page says', () => {
  it('is read with the line of each fence', () => {
    const page = [
      '# Page',
      '',
      fence('sh exit=2 terminal=other', 'ls'),
      'In `a.ts`:',
      '',
      fence('ts file=src/a.ts', 'x'),
    ];
    expect(readPage('page.md', page.join('\n')).steps).toEqual([
      { page: 'page.md', line: 3, kind: 'commands', text: 'ls\n', exit: 2, terminal: 'other' },
      { page: 'page.md', line: 9, kind: 'file', text: 'x\n', path: 'src/a.ts', isAppended: false },
    ]);
  });

  it('may stand in a list, indented', () => {
    const page = '1. Type:\n\n   ```sh\n   if true; then\n     ls\n   fi\n   ```\n';
    expect(readPage('page.md', page).steps).toMatchObject([{ text: 'if true; then\n  ls\nfi\n' }]);
  });

  it.each([
    ['code that nobody says what to do with', fence('ts', 'x'), /page\.md:1: what is this ts for/],
    ['a word that means nothing', fence('sh exti=1', 'ls'), /"exti" says nothing/],
    ['no reason for what is not run', fence('sh run=no', 'ls'), /needs its reason/],
    ['a file that the reader is not told of', fence('ts file=a.ts', 'x'), /does not name the file a\.ts/],
    ['an output of nothing', fence('text output', 'x'), /an output of no commands/],
    ['a command in the background', fence('sh', 'sleep 1 &'), /a terminal of its own/],
    ['a fence without its end', '```sh\nls\n', /never closed/],
  ])('must not be %s', (_, page, problem) => {
    expect(() => readPage('page.md', page)).toThrow(problem);
  });
});

describe('what a page shows', () => {
  it.each([
    ['the same but for spaces at the ends', 'a\nb', '\na  \nb\n\n', true],
    ['another line', 'a\nb', 'a\nc\n', false],
    ['a line more', 'a', 'a\nb\n', false],
    ['anything within a line', '… info  saved …', '10:00:00.123 info  saved id=1\n', true],
    ['not anything across lines', 'a … b', 'a\nb\n', false],
    ['any lines', 'a\n…\nd', 'a\nb\nc\nd\n', true],
    ['no line where any may be', 'a\n…\nd', 'a\nd\n', true],
    ['characters that mean something elsewhere', 'a.b [c] (d)?', 'a.b [c] (d)?', true],
    ['a dot that is no any', 'a.b', 'axb', false],
  ])('is %s', (_, shown, text, expected) => {
    expect(isShown(shown, text)).toBe(expected);
  });

  it('may be only the beginning of what goes on', () => {
    expect(isShown('a', 'a\nb\n', { isOpen: true })).toBe(true);
    expect(isShown('b', 'a\nb\n', { isOpen: true })).toBe(false);
  });
});

it('commands are divided as bash divides them', () => {
  const block = "# a comment\nls \\\n  -l\n\nfor i in 1 2; do\n  echo $i\ndone\ncat > f <<'EOF'\na\nEOF\ncd x\n";
  expect(commandsOf(block)).toEqual([
    'ls \\\n  -l',
    'for i in 1 2; do\n  echo $i\ndone',
    "cat > f <<'EOF'\na\nEOF",
    'cd x',
  ]);
});

// Each starts shells, one a compiler: a busy machine takes its time for them.
describe.runIf(process.platform !== 'win32')('following a page', { timeout: 60_000 }, () => {
  it('keeps folder, exports and functions from one fence to the next', async ({ signal }) => {
    const page = [
      fence('sh', 'mkdir inner && cd inner\nexport COLOUR=blue\nsay() { echo "it is $1"; }'),
      fence('js file=a.mjs', '// a.mjs\nconsole.log(process.env.COLOUR);'),
      fence('sh', 'say "$COLOUR"\nnode a.mjs'),
      fence('text output', 'it is blue\nblue'),
    ];
    const { run, read } = await follow(page.join('\n'), signal);
    expect(run.commands).toBe(5);
    expect(read('inner/a.mjs')).toContain('COLOUR');
  });

  it('says where the page is wrong: an exit code or an output', async ({ signal }) => {
    const failing = follow(fence('sh', 'true\necho why >&2; false'), signal);
    await expect(failing).rejects.toThrow(/^page\.md:1: `echo why >&2; false` ended with 1, not 0:\nwhy\n$/);
    const passing = follow(fence('sh exit=3', 'true'), signal);
    await expect(passing).rejects.toThrow('`true` ended with 0, not 3');
    const other = follow(fence('sh', 'echo one') + fence('text output', 'two'), signal);
    await expect(other).rejects.toThrow(/^page\.md:4: the page shows\ntwo\n\nand this was printed:\none\n$/);
  });

  it('checks the types of modules that are only shown', async ({ signal }) => {
    const module = (type: string): string =>
      fence('ts check', `import { defineTask } from '@flowops/sdk';\nexport const x: ${type} = typeof defineTask;`);
    expect((await follow(module('string'), signal)).run.checked).toBe(1);
    const wrong = follow(`${fence('text', 'a picture')}${module('number')}`, signal);
    await expect(wrong).rejects.toThrow(/^page\.md:4: the types are wrong:\npage\/line-4\.ts\(2,14\): error TS2322/);
  });

  it('has another terminal for what goes on, and none of it is left', async ({ signal }) => {
    const program = 'console.log("listening"); console.log(process.pid); setInterval(() => {}, 1000);';
    const page = [
      'Put this into `serve.mjs`:\n',
      fence('js file=serve.mjs', program),
      fence('sh terminal=server', 'export ONLY=here\nnode serve.mjs | tee served'),
      fence('text output', 'listening'),
      fence('sh', 'echo "${ONLY:-not here}"'),
      fence('text output', 'not here'),
    ];
    const { read } = await follow(page.join('\n'), signal);
    const pid = Number(read('served').split('\n')[1]);
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it('presses Ctrl-C before it types into a terminal that is busy', async ({ signal }) => {
    const program =
      'process.on("SIGINT", () => process.exit(console.log("bye"))); console.log("up"); setInterval(() => {}, 1000);';
    const page = [
      'Put this into `serve.mjs`:\n',
      fence('js file=serve.mjs', program),
      fence('sh terminal=server', 'node serve.mjs'),
      fence('sh terminal=server', 'echo again'),
      fence('text output terminal=server', 'again'),
    ];
    expect((await follow(page.join('\n'), signal)).run.commands).toBe(2);
  });

  it('puts free ports and what its test says in the place of what stands there', async ({ signal }) => {
    const page = fence('sh', 'echo 9091 19091 somewhere $MORE') + fence('text output', '9091 19091 somewhere much');
    const { run } = await follow(`${page}${fence('sh run=no: no such thing', 'x')}`, signal, {
      ports: [9091],
      before: async () => ({ env: { MORE: 'much' }, replace: { somewhere: 'here' } }),
    });
    expect(run).toEqual({ commands: 1, checked: 0, left: ['page.md:7: no such thing'] });
    await expect(follow(page, signal, { ports: [4711] })).rejects.toThrow('the page has no 4711');
  });

  it('types into an empty home, with nothing of the test run around', async ({ signal }) => {
    const page = fence('sh', 'ls -A "$HOME"\nenv | grep -c VITEST || true') + fence('text output', '0');
    expect((await follow(page, signal)).run.commands).toBe(2);
    expect(existsSync(join(process.env.HOME ?? '', 'serve.mjs'))).toBe(false);
  });
});
