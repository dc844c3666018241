/**
 * What an author does wrong on the first day, in a real sandbox: each message says what is wrong, what to change, and
 * shows the author's own line.
 */
import path from 'node:path';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import { describe, expect, it } from 'vitest';
import { developerHost } from '../support/developer-host.ts';
import { sourceTree } from '../support/source-tree.ts';

const sandbox = developerHost();

type Files = Readonly<Record<string, string>>;

async function mistake(files: Files): Promise<{ code: string; message: string }> {
  const folder = sourceTree(files);
  const result = await buildPlugin(path.join(folder, 'task.ts'), { sandbox, relativeTo: folder });
  if (result.ok) throw new Error('the build was expected to fail');
  return result;
}

/** A class of which one line is wrong. */
function task(field: string, decorator = "@TaskType({ name: 'demo.task', version: '1.0.0' })"): Files {
  const imports = 'BaseTask, Input, Output, TaskType';
  return {
    'task.ts': `import { ${imports} } from '@flowops/sdk';

${decorator}
export default class Task extends BaseTask {
  ${field}

  start() {}
}
`,
  };
}

const pg = {
  'node_modules/pg/package.json': '{"name":"pg","version":"8.11.3","main":"index.js"}',
  'node_modules/pg/index.js': "module.exports = require('net');",
};
const sqlite = {
  'node_modules/sqlite/package.json': '{"name":"sqlite","version":"5.1.0","gypfile":true,"main":"index.js"}',
  'node_modules/sqlite/index.js': "module.exports = require('fs');",
};
const defined = (line: string) =>
  `import { defineTask } from '@flowops/sdk';\n${line}\nexport default defineTask({ name: 'demo.task', version: '1.0.0', run() {} });\n`;

describe('an author is told what to change about', () => {
  it.each<[string, Files, RegExp, string]>([
    [
      'a decorator without parentheses',
      task("@Input\n  who = 'x';"),
      /^task\.ts:6:3: @Input on "who" has no parentheses; write @Input\(/,
      "  6 |   who = 'x';\n    |   ^",
    ],
    [
      '@TaskType without parentheses',
      task('', '@TaskType'),
      /^task\.ts:4:\d+: @TaskType on "Task" has no parentheses; write @TaskType\(\{ name: /,
      '  4 | export default class Task extends BaseTask {',
    ],
    [
      'a decorator on a method',
      task("@Input({ type: 'string' }) greet() {}"),
      /^task\.ts:5:30: @Input on "greet": only a field can be decorated/,
      "  5 |   @Input({ type: 'string' }) greet() {}",
    ],
    [
      'a decorator that does not exist',
      task("@Inputt({ type: 'string' }) who = 'x';"),
      /^task\.ts:5:3: ReferenceError: Inputt is not defined/,
      "  5 |   @Inputt({ type: 'string' }) who = 'x';",
    ],
    [
      'an import that the SDK does not have',
      {
        'task.ts':
          "import { BaseTask, TaskTyp } from '@flowops/sdk';\n@TaskTyp({})\nexport default class T extends BaseTask {}",
      },
      /^task\.ts:1:20: .*"@flowops\/sdk" for import "TaskTyp"[\s\S]*Did you mean to import "TaskType" instead\?/,
      '    |                    ^',
    ],
    [
      'a type that does not exist',
      task("@Input({ type: 'number' as never }) count = 1;"),
      /^task\.ts:5:39: input "count" has the type "number"; .*types are string, integer, float, boolean and json/,
      "  5 |   @Input({ type: 'number' as never }) count = 1;",
    ],
    [
      'a name that is none',
      task('', "@TaskType({ name: 'My Task', version: '1.0.0' })"),
      /^task\.ts:3: .*name: must be 1 to 128 characters of a-z 0-9/,
      "> 3 | @TaskType({ name: 'My Task', version: '1.0.0' })",
    ],
    [
      'a missing default export',
      { 'task.ts': (task('')['task.ts'] ?? '').replace('default ', '') },
      /^task\.ts:3: a plugin is the default export .* exports only Task\. Write `export default class/,
      '> 3 | @TaskType(',
    ],
    [
      'two tasks in one file',
      { 'task.ts': `${defined('')}export const other = defineTask({ name: 'b', version: '1.0.0', run() {} });\n` },
      /^task\.ts:4: this file declares 2 tasks, and a plugin is one: move each into a file of its own/,
      '> 4 | export const other = defineTask(',
    ],
    [
      'a module of Node that a package brings in',
      { ...pg, 'task.ts': defined("import 'pg';") },
      /^node:net ← pg@8\.11\.3 ← task\.ts:2\. Use another package, or set runtime: "node" \(container tier only\)\./,
      "  2 | import 'pg';\n    |        ^",
    ],
    [
      'a package with native code',
      { ...sqlite, 'task.ts': defined("import 'sqlite';") },
      /^node:fs ← sqlite@5\.1\.0 ← task\.ts:2\. sqlite@5\.1\.0 is native code\. .* Use another package\./,
      "  2 | import 'sqlite';",
    ],
    [
      'a package that is not installed',
      { 'task.ts': defined("import 'left-pad';") },
      /^task\.ts:2:8: .*left-pad.*npm install left-pad$/m,
      "  2 | import 'left-pad';",
    ],
    [
      'a global of Node at the top level',
      { 'task.ts': defined('const home = process.env.HOME;') },
      /^task\.ts:2:14: ReferenceError: process is not defined[\s\S]*without process, require, Buffer/,
      '  2 | const home = process.env.HOME;\n    |              ^',
    ],
  ])('%s', async (_what, files, told, frame) => {
    const { code, message } = await mistake(files);
    expect(code).toBe('PLUGIN_INVALID');
    expect(message).toMatch(told);
    expect(message).toContain(frame);
  });

  it('a bundle over the cap: which files take the room', async () => {
    const { code, message } = await mistake({
      'task.ts': `import { words } from './words.ts';\n${defined('console.log(words);')}`,
      'words.ts': `export const words = '${'w'.repeat(MAX_BUNDLE_BYTES)}';`,
    });
    expect(code).toBe('PLUGIN_INVALID');
    expect(message).toMatch(/at most 16\.0 MiB are allowed\. The largest files in it:\n +16\.0 MiB {2}words\.ts/);
  });

  it('an endless top level: to move the work into the task', async () => {
    const { code, message } = await mistake({ 'task.ts': defined('for (;;) {}') });
    expect(code).toMatch(/^LIMIT_(CPU|WALL)$/);
    expect(message).toMatch(
      /^task\.ts: .*top level.*it may only declare things; move the work into start\(\) or run\(\)/,
    );
  });
});
