/**
 * What `flowops plugin new` writes, as text. The work is a function of its own in a file without imports, so that its
 * test runs with nothing installed (`npm test`); the plugin around it declares inputs and outputs.
 */

export type PluginStyle = 'class' | 'function';

export interface PluginTemplate {
  readonly name: string;
  readonly style: PluginStyle;
  /** Where TypeScript finds our SDK from the new folder, when it would not find it by itself. */
  readonly sdkPath: string | undefined;
}

/** File names and their text. */
export function pluginFiles({ name, style, sdkPath }: PluginTemplate): ReadonlyMap<string, string> {
  return new Map([
    ['plugin.ts', style === 'class' ? classPlugin(name) : functionPlugin(name)],
    ['greeting.ts', GREETING],
    ['greeting.test.ts', GREETING_TEST],
    ['package.json', packageJson(name)],
    ['tsconfig.json', tsconfig(sdkPath)],
    ['README.md', readme(name, style)],
    ['.gitignore', 'node_modules/\ndist/\n.flowops/\n'],
  ]);
}

function classPlugin(name: string): string {
  return `import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';
import { greeting } from './greeting.ts';

@TaskType({ name: '${name}', version: '1.0.0', description: 'Greets somebody.' })
export default class Greet extends BaseTask {
  @Input({ type: 'string', description: 'Who is greeted' })
  name!: string;

  @Input({ type: 'integer', description: 'How often' })
  times = 1;

  @Output({ type: 'string', description: 'The greeting' })
  message = '';

  start() {
    this.logger.info('greeting', { name: this.name, times: this.times });
    this.message = greeting(this.name, this.times);
  }
}
`;
}

function functionPlugin(name: string): string {
  return `import { defineTask } from '@flowops/sdk';
import { greeting } from './greeting.ts';

export default defineTask({
  name: '${name}',
  version: '1.0.0',
  description: 'Greets somebody.',
  inputs: {
    name: { type: 'string', description: 'Who is greeted' },
    times: { type: 'integer', default: 1, description: 'How often' },
  },
  outputs: {
    message: { type: 'string', description: 'The greeting' },
  },
  run({ inputs, logger }) {
    logger.info('greeting', { name: inputs.name, times: inputs.times });
    return { message: greeting(inputs.name, inputs.times) };
  },
});
`;
}

const GREETING = `/** The work itself: plain code, so that a test needs nothing around it. */
export function greeting(name: string, times: number): string {
  return Array.from({ length: times }, () => \`Hello, \${name}!\`).join(' ');
}
`;

const GREETING_TEST = `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { greeting } from './greeting.ts';

test('greets as often as asked', () => {
  assert.equal(greeting('Ada', 2), 'Hello, Ada! Hello, Ada!');
});

test('greets nobody at all when asked for none', () => {
  assert.equal(greeting('Ada', 0), '');
});
`;

function packageJson(name: string): string {
  const manifest = {
    name: name.replace(/^[._-]+/, ''),
    version: '1.0.0',
    private: true,
    type: 'module',
    main: 'plugin.ts',
    // The file is named, so that a Node that cannot run TypeScript says so instead of finding no test.
    scripts: { test: 'node --test greeting.test.ts' },
    engines: { node: '>=22.18' },
  };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

function tsconfig(sdkPath: string | undefined): string {
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'esnext.decorators', 'webworker'],
    module: 'preserve',
    moduleResolution: 'bundler',
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    types: [],
    ...(sdkPath === undefined ? {} : { paths: { '@flowops/sdk': [sdkPath] } }),
  };
  return `${JSON.stringify({ compilerOptions, include: ['*.ts'], exclude: ['*.test.ts', 'dist'] }, null, 2)}\n`;
}

function readme(name: string, style: PluginStyle): string {
  const declared = style === 'class' ? 'the class in `plugin.ts`' : '`defineTask` in `plugin.ts`';
  return `# ${name}

A FlowOps plugin: ${declared} says what goes in and out, \`greeting.ts\` does the work.

\`\`\`
npm test                                             # the test, with Node 22.18 or later
flowops plugin build .                               # dist/${name}-1.0.0.js
flowops plugin inspect .                             # inputs, outputs, permissions
flowops sandbox run . --input name=World --input times=2
\`\`\`

In a clone of FlowOps the command is \`npx flowops\`. To publish, with \`flowops registry serve --dir registry\` running:

\`\`\`
flowops plugin publish dist/${name}-1.0.0.js --registry 127.0.0.1:9091
\`\`\`

## What the code may do

It runs in a sandbox: ECMAScript, timers, \`URL\`, \`TextEncoder\`, \`crypto.randomUUID\` and the like are there; files,
environment variables, processes and Node's modules are not. npm packages that need none of those can be imported:
\`flowops plugin build\` puts them into the bundle and names any that cannot go.

A published version never changes: raise \`version\` before you publish again.
`;
}
