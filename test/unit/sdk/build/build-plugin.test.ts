import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { digestOf } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES, readBundleManifest } from '@flowops/proto/manifest.ts';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import type { BuildResult } from '@flowops/sdk/build/build-result.ts';
import { describe, expect, it } from 'vitest';
import { AnsweringSandbox, completedWith, failedWith } from '../../../support/answering-sandbox.ts';
import { sourceTree } from '../../../support/source-tree.ts';

const MANIFEST = { name: 'demo.greet', version: '1.0.0' };
const GREET = `import { BaseTask, Output, TaskType } from '@flowops/sdk';

@TaskType({ name: 'demo.greet', version: '1.0.0' })
export default class Greet extends BaseTask {
  @Output({ type: 'string' }) message = '';
  start() { this.message = 'hi'; }
}
`;

async function build(folder: string, source = '.', sandbox = new AnsweringSandbox(() => completedWith(MANIFEST))) {
  return await buildPlugin(path.join(folder, source), { sandbox: sandbox.open, relativeTo: folder });
}

async function problemsOf(files: Record<string, string>, source = '.'): Promise<string> {
  const result = await build(sourceTree(files), source);
  if (result.ok) throw new Error('the build was expected to fail');
  expect(result.code).toBe('PLUGIN_INVALID');
  return result.message;
}

function built(result: BuildResult) {
  if (!result.ok) throw new Error(result.message);
  return { ...result, text: Buffer.from(result.bundle).toString('utf8') };
}

describe('a bundle', () => {
  it('begins with the manifest that the sandbox told, and its digest is of the whole file', async () => {
    const result = built(await build(sourceTree({ 'greet.ts': GREET })));
    expect(readBundleManifest(result.bundle)).toMatchObject({ ok: true, manifest: MANIFEST });
    expect(result.text.split('\n')[0]).toMatch(/^\/\/! flowops-plugin \{"name":"demo\.greet","version":"1\.0\.0"/);
    expect(result.digest).toBe(digestOf(result.bundle));
  });

  it('holds no decorator any more and exports the class as default', async () => {
    const { text } = built(await build(sourceTree({ 'greet.ts': GREET })));
    expect(text).not.toMatch(/^\s*@TaskType/m);
    expect(text).toMatch(/as default/);
  });

  it('is the same wherever the source lies, its package and the SDK included', async () => {
    const files = {
      'greet.ts': `import { shout } from 'shout';\nimport c from 'cjs';\n${GREET}\nexport const loud = [shout, c];`,
      'node_modules/shout/package.json': '{"name":"shout","version":"1.0.0","type":"module","main":"index.js"}',
      'node_modules/shout/index.js': 'export const shout = (text) => text.toUpperCase();',
      'node_modules/cjs/package.json': '{"name":"cjs","version":"1.0.0"}',
      'node_modules/cjs/index.js': 'module.exports = require("./part.js");',
      'node_modules/cjs/part.js': 'module.exports = "part";',
    };
    const near = sourceTree(files);
    const hoisted = sourceTree(
      Object.fromEntries(
        Object.entries(files).map(([name, text]) => [name === 'greet.ts' ? 'packages/deep/er/greet.ts' : name, text]),
      ),
    );
    const first = built(await build(near));
    const second = built(await build(hoisted, 'packages/deep/er/greet.ts'));
    expect(second.text).toBe(first.text);
    expect(second.digest).toBe(first.digest);
    expect(second.sourceMap).toBe(first.sourceMap);
    expect(first.text).toContain('// node_modules/shout/index.js');
    expect(first.text).toContain('"node_modules/cjs/part.js"(exports');
    for (const folder of [near, hoisted]) expect(first.text + first.sourceMap).not.toContain(path.basename(folder));
  });

  it('of an example is that of a copy of it elsewhere', async () => {
    const example = fileURLToPath(new URL('../../../../sdk/examples/01-hello/hello.ts', import.meta.url));
    const copy = sourceTree({ 'hello.ts': readFileSync(example, 'utf8') });
    const sandbox = new AnsweringSandbox(() => completedWith(MANIFEST));
    const inPlace = built(await buildPlugin(example, { sandbox: sandbox.open }));
    expect(built(await build(copy)).digest).toBe(inPlace.digest);
    expect(JSON.parse(inPlace.sourceMap)).toMatchObject({ sources: expect.arrayContaining(['hello.ts']) });
  });

  it('has a source map that names the sources and does not hold them', async () => {
    const { sourceMap } = built(await build(sourceTree({ 'greet.ts': GREET })));
    expect(JSON.parse(sourceMap)).toMatchObject({
      version: 3,
      sources: expect.arrayContaining(['greet.ts', 'node_modules/@flowops/sdk/base-task.ts']),
    });
    expect(JSON.parse(sourceMap)).not.toHaveProperty('sourcesContent');
  });

  it("takes the author's own copy of the SDK where there is one", async () => {
    const { text } = built(
      await build(
        sourceTree({
          'greet.js': "import { mine } from '@flowops/sdk';\nexport default mine;",
          'node_modules/@flowops/sdk/package.json': '{"name":"@flowops/sdk","version":"9.0.0","main":"index.js"}',
          'node_modules/@flowops/sdk/index.js': "export const mine = 'the copy of the author';",
        }),
        'greet.js',
      ),
    );
    expect(text).toContain('the copy of the author');
  });

  it("does not read the author's tsconfig, which could change what decorators are given", async () => {
    const tsconfig = '{"compilerOptions":{"experimentalDecorators":true,"useDefineForClassFields":false}}';
    const plain = built(await build(sourceTree({ 'greet.ts': GREET })));
    const configured = built(await build(sourceTree({ 'greet.ts': GREET, 'tsconfig.json': tsconfig })));
    expect(configured.digest).toBe(plain.digest);
  });

  it('keeps an import of Node that the code itself survives', async () => {
    const optional = "let os; try { os = require('os'); } catch { os = undefined; }\nexport default { os };";
    expect(built(await build(sourceTree({ 'optional.js': optional }))).text).toContain('"os"');
  });

  it('is never evaluated in this process', async () => {
    const source = "globalThis.flowopsWasHere = true;\nthrow new Error('evaluated');\nexport default {};";
    built(await build(sourceTree({ 'trap.js': source })));
    expect(Object.hasOwn(globalThis, 'flowopsWasHere')).toBe(false);
  });
});

describe('the manifest', () => {
  it('is asked of a sandbox without inputs, in the isolate tier, with a limit and a fresh token', async () => {
    const sandbox = new AnsweringSandbox(() => completedWith(MANIFEST));
    const folder = sourceTree({ 'greet.ts': GREET });
    await build(folder, '.', sandbox);
    await build(folder, '.', sandbox);
    const [first, second] = sandbox.requests;
    expect(first).toMatchObject({ purpose: 'inspect', inputsJson: '{}', requestedTier: 'isolate' });
    expect(first?.requestedWallMs).toBeGreaterThan(0);
    expect(first?.token).toMatch(/^[0-9a-f]{32}$/);
    expect(second?.token).not.toBe(first?.token);
  });

  it('is refused where the sandbox tells one that is not valid', async () => {
    const sandbox = new AnsweringSandbox(() => completedWith({ name: 'No Good', version: 'one' }));
    const result = await build(sourceTree({ 'greet.ts': GREET }), '.', sandbox);
    expect(result).toMatchObject({ ok: false, code: 'PLUGIN_INVALID' });
    expect(result.ok ? '' : result.message).toMatch(/name: .*; version: must be a semantic version/);
  });

  it('that needs longer than the limit is told as work at the top level', async () => {
    const sandbox = new AnsweringSandbox(() => failedWith({ code: 'LIMIT_WALL', message: 'ran longer than 5000 ms' }));
    const result = await build(sourceTree({ 'greet.ts': GREET }), '.', sandbox);
    expect(result).toMatchObject({ ok: false, code: 'LIMIT_WALL' });
    expect(result.ok ? '' : result.message).toMatch(/top level.*start\(\) or run\(\)/);
  });

  it('is a matter of the sandbox, not of the plugin, when the sandbox is away', async () => {
    const folder = sourceTree({ 'greet.ts': GREET });
    const away = { ok: false, code: 'SANDBOX_UNAVAILABLE', message: 'no sandbox here' } as const;
    const refused = await buildPlugin(folder, { sandbox: async () => away });
    expect(refused).toMatchObject({ ok: false, code: 'SANDBOX_UNAVAILABLE', message: 'no sandbox here' });
    const lost = new AnsweringSandbox(() => ({
      status: 'LOST',
      message: 'connection ended',
      aliveForMs: 0,
      hostEnded: true,
    }));
    expect(await build(folder, '.', lost)).toMatchObject({ ok: false, code: 'SANDBOX_UNAVAILABLE' });
  });

  it("that the top level kept from being told points at the author's line, frames of packages cut", async () => {
    const folder = sourceTree({
      'greet.js':
        "import { broken } from 'pack';\nimport { BaseTask } from '@flowops/sdk';\nconst x = 1;\nbroken(x, BaseTask);\nexport default {};",
      'node_modules/pack/package.json': '{"name":"pack","version":"1.0.0","main":"i.js","type":"module"}',
      'node_modules/pack/i.js': "export function broken(n) {\n  throw new Error('from the package ' + n);\n}",
    });
    const sandbox = new AnsweringSandbox((text) => {
      const lines = text.split('\n');
      const lineOf = (part: string): number => lines.findIndex((line) => line.includes(part)) + 1;
      const stack = [
        'Error: from the package 1',
        `    at broken (plugin.js:${lineOf('from the package')}:9)`,
        `    at plugin.js:${lineOf('broken(x')}:1`,
        '    at sandbox-internal.js:10:20',
      ].join('\n');
      return failedWith({ code: 'PLUGIN_ERROR', message: 'Error: from the package 1', stack });
    });
    const result = await build(folder, 'greet.js', sandbox);
    expect(result).toMatchObject({ ok: false, code: 'PLUGIN_INVALID', problems: [{ file: 'greet.js', line: 4 }] });
    const message = result.ok ? '' : result.message;
    expect(message).toContain('greet.js:4:1: Error: from the package 1');
    expect(message).toContain('  4 | broken(x, BaseTask);');
    expect(message).toContain('without process, require, Buffer');
    expect(message).not.toContain('node_modules/pack');
    expect(message).not.toContain('sandbox-internal');
  });
});

describe('a plugin that cannot be built', () => {
  it('names the file, the line and shows the code of a syntax error', async () => {
    const message = await problemsOf({ 'wrong.ts': 'const a = 1;\nexport default class {\n  start( {\n}\n' });
    expect(message).toMatch(/^wrong\.ts:\d+:\d+: /);
    expect(message).toMatch(/^ {2}\d \|.*\n {4}\| *\^/m);
  });

  it('is told what a default export is', async () => {
    expect(await problemsOf({ 'named.ts': 'export class Greet {}' })).toMatch(
      /^named\.ts: a plugin is the default export .* exports only Greet\. Write `export default/,
    );
    expect(await problemsOf({ 'greet.ts': GREET.replace('default ', '') })).toMatch(
      /^greet\.ts:3: a plugin is the default export [\s\S]*\n> 3 \| @TaskType\(/,
    );
    expect(await problemsOf({ 'empty.ts': '' })).toMatch(/exports nothing/);
  });

  it('is told that one file is one task, also when comments and strings talk of others', async () => {
    const two = `${GREET}\n@TaskType({ name: 'b', version: '1.0.0' })\nclass Second extends BaseTask { start() {} }\nexport { Second };`;
    expect(await problemsOf({ 'two.ts': two })).toMatch(
      /^two\.ts:9: this file declares 2 tasks[\s\S]*\n> +9 \| @TaskType\(\{ name: 'b'/,
    );
    const mixed = `import { defineTask } from '@flowops/sdk';\n${GREET}\nexport const other = defineTask({ name: 'c', version: '1.0.0', run() {} });`;
    expect(await problemsOf({ 'mixed.ts': mixed })).toMatch(/declares 2 tasks/);
    const talk = `// @TaskType({})\n/*\n@TaskType({})\n*/\nconst help = "@TaskType({})";\n${GREET}\nexport { help };`;
    expect((await build(sourceTree({ 'talk.ts': talk }))).ok).toBe(true);
  });

  it('is shown the name that it may have meant of the SDK, in its own file', async () => {
    const message = await problemsOf({ 'typo.ts': GREET.replaceAll('TaskType', 'TaskTpe') });
    expect(message).toMatch(/^typo\.ts:1:28: .*"@flowops\/sdk".*"TaskTpe"/);
    expect(message).toContain(
      "  1 | import { BaseTask, Output, TaskTpe } from '@flowops/sdk';\n    |                            ^",
    );
    expect(message).toContain('Did you mean to import "TaskType" instead?');
  });

  it('is told which files make a bundle larger than 16 MiB', async () => {
    const folder = sourceTree({
      'large.js': "import { words } from './words.js';\nexport default { words };",
      'words.js': `export const words = '${'w'.repeat(MAX_BUNDLE_BYTES)}';`,
    });
    const result = await build(folder, 'large.js');
    expect(result).toMatchObject({ ok: false, code: 'PLUGIN_INVALID' });
    expect(result.ok ? '' : result.message).toMatch(
      /16\.0 MiB; at most 16\.0 MiB are allowed[\s\S]*16\.0 MiB {2}words\.js/,
    );
  });

  it('is told the package to install when one is missing', async () => {
    const message = await problemsOf({ 'a.ts': "import pad from 'left-pad/x';\nexport default { pad };" });
    expect(message).toMatch(/^a\.ts:1:17: .*left-pad.*npm install left-pad$/m);
  });
});

describe('an import that would be left to the run', () => {
  it('is refused: a URL is no part of the verified bytes', async () => {
    const message = await problemsOf(
      {
        'a.ts': "import './b.ts';\nexport default {};",
        'b.ts': "\nimport x from 'https://example.com/x.js';\nx();",
      },
      'a.ts',
    );
    expect(message).toBe(
      'https://example.com/x.js ← b.ts:2. A bundle holds all its code: save the file beside the plugin, or install the package it is in.\n' +
        "  1 |\n  2 | import x from 'https://example.com/x.js';\n    |               ^\n  3 | x();",
    );
  });
});

describe('an import of Node', () => {
  const pg = {
    'node_modules/pg/package.json': '{"name":"pg","version":"8.11.3","main":"lib/index.js"}',
    'node_modules/pg/lib/index.js': "module.exports = require('./client');",
    'node_modules/pg/lib/client.js': "const fs = require('fs');\nmodule.exports = fs;",
  };

  it("is led back through the packages to the author's line, with the ways out", async () => {
    const message = await problemsOf(
      {
        ...pg,
        'src/plugin.ts': "import { query } from './query.ts';\nexport default { query };",
        'src/query.ts': "// the database\n\nimport pg from 'pg';\nexport const query = pg;",
      },
      'src/plugin.ts',
    );
    expect(message).toBe(
      'node:fs ← pg@8.11.3 ← src/query.ts:3. Use another package, or set runtime: "node" (container tier only).\n' +
        "  1 | // the database\n  2 |\n  3 | import pg from 'pg';\n    |                ^\n  4 | export const query = pg;",
    );
  });

  it('of the author himself names his line', async () => {
    const message = await problemsOf({
      'a.ts': "const x = 1;\nimport { readFile } from 'node:fs/promises';\nexport default { x, readFile };",
    });
    expect(message).toMatch(/^node:fs\/promises ← a\.ts:2\. Use another package/);
  });

  it('is told for every module, beside what else is missing', async () => {
    const message = await problemsOf({
      ...pg,
      'a.ts':
        "import pg from 'pg';\nimport { connect } from 'node:net';\nimport pad from 'left-pad';\nexport default [pg, connect, pad];",
    });
    expect(message).toContain('node:fs ← pg@8.11.3 ← a.ts:1. ');
    expect(message).toContain('node:net ← a.ts:2. ');
    expect(message).toContain('npm install left-pad');
  });

  it('is told for native code, for which there is no way', async () => {
    const message = await problemsOf({
      'a.ts': "import sharp from '@img/sharp';\nexport default sharp;",
      'node_modules/@img/sharp/package.json': '{"name":"@img/sharp","version":"0.33.0","main":"index.js"}',
      'node_modules/@img/sharp/index.js': "module.exports = require('./sharp.node');",
      'node_modules/@img/sharp/sharp.node': '\u007fELF',
    });
    expect(message).toBe(
      './sharp.node ← @img/sharp@0.33.0 ← a.ts:1. A plugin is one JavaScript file, so native code cannot go with it. Use another package.\n' +
        "  1 | import sharp from '@img/sharp';\n    |                   ^\n  2 | export default sharp;",
    );
  });

  it('of a package that loads native code is told as that, and not as a way into a container', async () => {
    const message = await problemsOf({
      'a.ts': "import Database from 'better-sqlite3';\nexport default Database;",
      'node_modules/better-sqlite3/package.json':
        '{"name":"better-sqlite3","version":"12.1.0","main":"index.js","dependencies":{"bindings":"1.5.0"}}',
      'node_modules/better-sqlite3/index.js': "module.exports = require('bindings')('better_sqlite3.node');",
      'node_modules/bindings/package.json': '{"name":"bindings","version":"1.5.0","main":"bindings.js"}',
      'node_modules/bindings/bindings.js': "module.exports = require('fs');",
    });
    expect(message).toMatch(
      /^node:fs ← bindings@1\.5\.0 ← better-sqlite3@12\.1\.0 ← a\.ts:1\. better-sqlite3@12\.1\.0 is native code\. A plugin is one JavaScript file/,
    );
    expect(message).not.toContain('runtime: "node"');
  });

  it.each([
    ['a build for each machine', '{"optionalDependencies":{"@x/fast-linux-x64-gnu":"1.0.0"}}'],
    ['a build at its install', '{"gypfile":true}'],
  ])('is told as native code of a package with %s', async (_what, manifest) => {
    const message = await problemsOf({
      'a.ts': "import fast from 'fast';\nexport default fast;",
      'node_modules/fast/package.json': manifest,
      'node_modules/fast/index.js': "module.exports = require('os').platform();",
    });
    expect(message).toMatch(/^node:os ← fast ← a\.ts:1\. fast is native code\./);
  });

  it('stays in a plugin whose own manifest says runtime: "node"', async () => {
    const files = {
      ...pg,
      'a.ts': "import pg from 'pg';\nexport const task = { runtime: 'node', pg };\nexport default task;",
    };
    const sandbox = new AnsweringSandbox(() => completedWith({ ...MANIFEST, runtime: 'node' }));
    const { text, manifest } = built(await build(sourceTree(files), 'a.ts', sandbox));
    expect(manifest.runtime).toBe('node');
    expect(text).toMatch(/require\("fs"\)|from "fs"/);
    expect(sandbox.asked[0]).not.toMatch(/require\("fs"\)|from "fs"/);
  });

  it('stops a plugin whose source only mentions a runtime', async () => {
    const sandbox = new AnsweringSandbox(() => completedWith(MANIFEST));
    const result = await build(
      sourceTree({ ...pg, 'a.ts': "import pg from 'pg';\nexport default { runtime: pg };" }),
      'a.ts',
      sandbox,
    );
    expect(result.ok ? '' : result.message).toMatch(/^node:fs ← pg@8\.11\.3 ← a\.ts:1\./);
  });
});
