import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import type { BuildResult } from '@flowops/sdk/build/build-result.ts';
import { INSPECT_WALL_MS } from '@flowops/sdk/build/inspect-bundle.ts';
import { describe, expect, it } from 'vitest';
import { developerHost } from '../support/developer-host.ts';
import { sourceTree } from '../support/source-tree.ts';

const sandbox = developerHost();

async function build(source: string, name = 'task.ts'): Promise<BuildResult> {
  const folder = sourceTree({ [name]: source });
  return await buildPlugin(path.join(folder, name), { sandbox, relativeTo: folder });
}

async function messageOf(source: string): Promise<string> {
  const result = await build(source);
  expect(result).toMatchObject({ ok: false, code: 'PLUGIN_INVALID' });
  return result.ok ? '' : result.message;
}

function classTask(fields: string, options = "name: 'demo.task', version: '1.0.0'"): string {
  return `import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';

@TaskType({ ${options} })
export default class Task extends BaseTask {
${fields}
  start() {}
}
`;
}

const GOOD = classTask("  @Output({ type: 'string' }) message = '';");

describe('a manifest read in a real sandbox', () => {
  it('has what decorators, initialisers and permissions declare', async () => {
    const source = classTask(
      `  @Input({ type: 'integer', description: 'How often' }) repeatCount!: number;
  @Input({ type: 'string' }) greeting = 'Hello';
  @Input({ type: 'json', name: 'more-options', required: false }) options: unknown;
  @Output({ type: 'float' }) seconds = 0;`,
      "name: 'demo.task', version: '1.0.0-rc.1', description: 'Greets', permissions: { net: ['example.com:443'], secrets: ['KEY'] }",
    );
    expect(await build(source)).toMatchObject({
      ok: true,
      manifest: {
        name: 'demo.task',
        version: '1.0.0-rc.1',
        description: 'Greets',
        permissions: { net: ['example.com:443'], secrets: ['KEY'] },
        inputs: {
          repeatCount: { type: 'integer', required: true, description: 'How often' },
          greeting: { type: 'string', required: false, default: 'Hello' },
          'more-options': { type: 'json', required: false },
        },
        outputs: { seconds: { type: 'float' } },
      },
    });
  });

  it('is the same for a function as for a class that declares the same', async () => {
    const asClass = await build(
      classTask("  @Input({ type: 'integer' }) n = 2;\n  @Output({ type: 'integer' }) m = 0;"),
    );
    const asFunction = await build(`import { defineTask } from '@flowops/sdk';
export default defineTask({
  name: 'demo.task', version: '1.0.0',
  inputs: { n: { type: 'integer', default: 2 } },
  outputs: { m: { type: 'integer' } },
  run: ({ inputs }) => ({ m: inputs.n }),
});`);
    if (!asClass.ok || !asFunction.ok) throw new Error('both are good plugins');
    expect(asFunction.manifest).toEqual(asClass.manifest);
  });

  it('is read where the plugin is plain JavaScript with a top-level await', async () => {
    const source = `import { defineTask } from '@flowops/sdk';
const version = await Promise.resolve('3.1.4');
export default defineTask({ name: 'demo.task', version, run() {} });`;
    expect(await build(source, 'task.js')).toMatchObject({ ok: true, manifest: { version: '3.1.4' } });
  });
});

describe('a plugin for the container tier', () => {
  it('has its manifest read while the modules of Node are stood in for, and runs in Node', async () => {
    const folder = sourceTree({
      'task.ts': `import { readFileSync } from 'node:fs';
import pg from 'pg';
import { defineTask } from '@flowops/sdk';
const dialect = new pg.Dialect(process.env.DIALECT);
export default defineTask({
  name: 'demo.node', version: '1.0.0', runtime: 'node',
  run: () => void readFileSync(new URL(import.meta.url)).subarray(0, dialect.buffer.length),
});`,
      'node_modules/pg/package.json': '{"name":"pg","version":"8.0.0"}',
      'node_modules/pg/index.js': `const { EventEmitter } = require('events');
class Dialect extends EventEmitter { constructor(name) { super(); this.buffer = Buffer.from(name ?? ''); } }
module.exports = { Dialect };`,
    });
    const built = await buildPlugin(folder, { sandbox, relativeTo: folder });
    if (!built.ok) throw new Error(built.message);
    expect(built.manifest).toMatchObject({ name: 'demo.node', runtime: 'node' });
    const file = path.join(folder, 'built.mjs');
    writeFileSync(file, built.bundle);
    const run = "import(process.argv[1]).then(({ default: task }) => task.run()).then(() => console.log('ran'))";
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', run, file]);
    expect(stdout).toBe('ran\n');
  });
});

describe('while the manifest of a plugin for Node is read', () => {
  it('its packages that need Node are stood in for, and its other ones and its own files run', async () => {
    const folder = sourceTree({
      'task.ts': `import { EventEmitter, once } from 'node:events';
import * as os from 'os';
import { defineTask } from '@flowops/sdk';
import { connect } from 'reaches-out';
import { slug } from 'needs-nothing';
class Bus extends EventEmitter {}
const bus = new Bus().on('x', () => {});
const [major] = process.versions.node.split('.');
const known = [...connect({ cpus: os.cpus().length }), __filename, bus, once];
export default defineTask({
  name: slug('Demo Node'), version: \`\${major}.0.0\`, runtime: 'node', outputs: { n: { type: 'integer' } },
  run: () => ({ n: known.length }),
});`,
      'node_modules/reaches-out/package.json': '{"name":"reaches-out","version":"1.0.0"}',
      'node_modules/reaches-out/index.js': "require('deeper'); exports.connect = () => []; exports.version();",
      'node_modules/deeper/package.json': '{"name":"deeper","version":"1.0.0"}',
      'node_modules/deeper/index.js': "require('fs').readFileSync('/'); throw new Error('it ran');",
      'node_modules/needs-nothing/package.json': '{"name":"needs-nothing","version":"1.0.0","type":"module"}',
      'node_modules/needs-nothing/index.js':
        "export const slug = (text) => (typeof process === 'object' ? text : '').toLowerCase().replace(' ', '.');",
    });
    const built = await buildPlugin(folder, { sandbox, relativeTo: folder });
    expect(built.ok ? '' : built.message).toBe('');
    expect(built).toMatchObject({
      manifest: { name: 'demo.node', version: `${process.versions.node.split('.')[0]}.0.0`, runtime: 'node' },
      warnings: [],
    });
  });
});

describe('a top level that does what it should not', () => {
  it('writes no file, whether it fails by it or goes on', async () => {
    const folder = sourceTree({});
    const target = path.join(folder, 'written.txt');
    const write = (access: string) => `${access}('node:fs').writeFileSync(${JSON.stringify(target)}, 'x');\n${GOOD}`;
    expect(await messageOf(write('globalThis.process.getBuiltinModule'))).toMatch(/^task\.ts:1:\d+: .*TypeError/);
    expect(await messageOf(write('require'))).toMatch(/^node:fs ← task\.ts:1\. /);
    const quiet = `try { globalThis.process.getBuiltinModule('node:fs').writeFileSync(${JSON.stringify(target)}, 'x'); } catch {}\n${GOOD}`;
    expect((await build(quiet)).ok).toBe(true);
    expect(existsSync(target)).toBe(false);
  });

  it('reads no environment variable', async () => {
    const told = classTask(
      '',
      "name: 'demo.task', version: '1.0.0', description: String(globalThis.process?.env?.PATH)",
    );
    expect(await build(told)).toMatchObject({ ok: true, manifest: { description: 'undefined' } });
    const message = await messageOf(`const home = process.env.HOME;\n${classTask('')}\nexport { home };`);
    expect(message).toMatch(/^task\.ts:1:\d+: .*process is not defined/);
    expect(message).toContain('const home = process.env.HOME;');
    expect(message).toContain('without process, require, Buffer, files, environment or network');
  });

  it.each([
    ['a loop', 'for (;;) {}'],
    ['a promise that never settles', 'await new Promise(() => {});'],
    ['a chain of timers', 'await new Promise(() => setInterval(() => {}, 10));'],
  ])('ends at the limit with %s, and the next plugin is built', async (_what, code) => {
    const startedMs = Date.now();
    const [stuck, neighbour] = await Promise.all([build(`${code}\n${GOOD}`), build(GOOD)]);
    expect(stuck).toMatchObject({ ok: false, code: expect.stringMatching(/^LIMIT_(WALL|CPU)$|^PLUGIN_INVALID$/) });
    expect(Date.now() - startedMs).toBeLessThan(INSPECT_WALL_MS + 10_000);
    expect(neighbour.ok).toBe(true);
    expect((await build(GOOD)).ok).toBe(true);
  });

  it('is told with its own line when it throws', async () => {
    const message = await messageOf(
      `function check(n: number) {\n  if (n > 1) throw new RangeError('too much');\n}\ncheck(2);\n${GOOD}`,
    );
    expect(message).toMatch(/^task\.ts:2:\d+: .*too much/);
    expect(message).toMatch(/at task\.ts:4:1/);
  });
});

describe('a declaration that is wrong', () => {
  it.each([
    ['a default export that is no task', 'export default 42;', /task/i],
    [
      'a class without @TaskType',
      "import { BaseTask } from '@flowops/sdk';\nexport default class T extends BaseTask { start() {} }",
      /TaskType/,
    ],
    ['a name that is none', classTask('', "name: 'Not A Name', version: '1.0.0'"), /name: must be 1 to 128 characters/],
    [
      'a version that is none',
      classTask('', "name: 'demo.task', version: 'one'"),
      /version: must be a semantic version/,
    ],
    ['a decorated static field', classTask("  @Input({ type: 'string' }) static who = '';"), /@Input on "who".*static/],
    [
      'two fields for one input',
      classTask("  @Input({ type: 'string' }) a = '';\n  @Input({ type: 'string', name: 'a' }) b = '';"),
      /both the input "a"/,
    ],
    ['a default of another type', classTask("  @Input({ type: 'integer' }) n: any = 'text';"), /n/],
  ])('is told: %s', async (_what, source, told) => {
    expect(await messageOf(source)).toMatch(told);
  });
});
