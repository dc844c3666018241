/**
 * What `flowops plugin new` writes, as text: a plugin that works as it stands, a test of it, and what npm, TypeScript and
 * an editor need for both. Three forms of one plugin: a class, a function, and a function in plain JavaScript.
 */

export type PluginStyle = 'class' | 'function';

export interface PluginTemplate {
  readonly name: string;
  readonly style: PluginStyle;
  readonly language: 'ts' | 'js';
  /** How package.json names `@flowops/sdk`: a version, or `file:` and a path. */
  readonly sdk: string;
}

/** What an author's test and type check run on: the releases that our own tests use. */
export const VITEST_VERSION = '5.1.1';
export const TYPESCRIPT_VERSION = '7.0.2';
/** For editors, beside the flow that names it. */
export const FLOW_SCHEMA = 'schemas/flow.json';
/** Lowers the decorators of a class in a test. */
export const ESBUILD_VERSION = '0.28.2';

/** File names and their text. */
export function pluginFiles(template: PluginTemplate): ReadonlyMap<string, string> {
  const { name, style, language } = template;
  const files = new Map([[`plugin.${language}`, style === 'class' ? classPlugin(name) : functionPlugin(name)]]);
  files.set(`plugin.test.${language}`, pluginTest(style, language));
  // Decorators are not JavaScript yet: the plugin for vitest lowers them.
  if (style === 'class') files.set(`vitest.config.${language}`, VITEST_CONFIG);
  if (language === 'ts') files.set('tsconfig.json', TSCONFIG);
  files.set('package.json', packageJson(template));
  files.set('flow.yaml', flow(name));
  files.set('README.md', readme(template));
  files.set('.gitignore', 'node_modules/\ndist/\n.flowops/\n.env\n');
  return files;
}

function classPlugin(name: string): string {
  return `import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';

@TaskType({ name: '${name}', version: '1.0.0', description: 'Greets somebody.' })
export default class Greet extends BaseTask {
  @Input({ type: 'string', description: 'Who is greeted' })
  name!: string;

  @Input({ type: 'integer', description: 'How often' })
  times = 1;

  @Output({ type: 'string', description: 'The greeting' })
  message = '';

  override start(): void {
    this.logger.info('greeting', { name: this.name, times: this.times });
    this.message = Array.from({ length: this.times }, () => \`Hello, \${this.name}!\`).join(' ');
  }
}
`;
}

function functionPlugin(name: string): string {
  return `import { defineTask } from '@flowops/sdk';

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
    return { message: Array.from({ length: inputs.times }, () => \`Hello, \${inputs.name}!\`).join(' ') };
  },
});
`;
}

function pluginTest(style: PluginStyle, language: 'ts' | 'js'): string {
  const task = style === 'class' ? 'Greet' : 'greet';
  return `import { runTask } from '@flowops/sdk/testing';
import { expect, test } from 'vitest';
import ${task} from './plugin.${language}';

test('greets as often as asked', async () => {
  const { error, outputs } = await runTask(${task}, { inputs: { name: 'Ada', times: 2 } });
  expect(error).toBeNull();
  expect(outputs).toEqual({ message: 'Hello, Ada! Hello, Ada!' });
});

test('fails without a name', async () => {
  const { status, code } = await runTask(${task}, { inputs: {} });
  expect(status).toBe('FAILED');
  expect(code).toBe('INPUT_INVALID');
});
`;
}

const VITEST_CONFIG = `import { flowops } from '@flowops/sdk/vitest';
import { defineConfig } from 'vitest/config';

export default defineConfig({ plugins: [flowops()] });
`;

/** `lib` has what a sandbox has, so that the compiler knows no `process` and no `Buffer` either. */
const TSCONFIG = `${JSON.stringify(
  {
    compilerOptions: {
      target: 'es2022',
      lib: ['es2023', 'esnext.decorators', 'esnext.disposable', 'webworker'],
      module: 'preserve',
      moduleResolution: 'bundler',
      strict: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true,
      types: [],
    },
    include: ['*.ts', 'src'],
  },
  null,
  2,
)}\n`;

function packageJson({ name, style, language, sdk }: PluginTemplate): string {
  const manifest = {
    name,
    version: '1.0.0',
    private: true,
    type: 'module',
    main: `plugin.${language}`,
    scripts: { test: 'vitest run', ...(language === 'ts' ? { types: 'tsc' } : {}) },
    devDependencies: {
      '@flowops/sdk': sdk,
      ...(style === 'class' ? { esbuild: ESBUILD_VERSION } : {}),
      ...(language === 'ts' ? { typescript: TYPESCRIPT_VERSION } : {}),
      vitest: VITEST_VERSION,
    },
  };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

function flow(name: string): string {
  return `# yaml-language-server: $schema=${FLOW_SCHEMA}
flowId: ${JSON.stringify(name)}
inputs:
  who: { type: string, default: World }
steps:
  - stepId: greet
    pluginId: ${JSON.stringify(name)}
    inputs: { name: '\${flow.input.who}' }
`;
}

function readme({ name, style, language }: PluginTemplate): string {
  const file = `plugin.${language}`;
  const declared = style === 'class' ? 'the decorators say' : '`defineTask` says';
  return `# ${name}

A FlowOps plugin. \`${file}\` is all of it: ${declared} what goes in and out, ${style === 'class' ? '`start()`' : '`run()`'} does the work.

\`\`\`sh
npm test                                    # plugin.test.${language}, without a sandbox: quick
flowops sandbox run . --input name=World    # once, in the sandbox that a flow uses; --watch does it at every change
flowops run flow.yaml --input who=World     # as a step of a flow
flowops plugin build .                      # one file, dependencies included: dist/${name}-1.0.0.js
\`\`\`
${language === 'ts' ? '\n`npm run types` checks the types.\n' : ''}
In a clone of FlowOps type \`npx flowops\` in the clone, with this folder instead of the dot.

To publish, with \`flowops registry serve --dir registry\` running in another terminal:

\`\`\`sh
flowops plugin publish dist/${name}-1.0.0.js --registry 127.0.0.1:9091
\`\`\`

A published version never changes: raise \`version\` in \`${file}\` before you publish again.

## What the code may do

ECMAScript, timers, \`URL\`, \`TextEncoder\`, \`crypto\`, \`fetch\` and the like are there. Files, environment variables,
processes and Node's modules are not. npm packages that need none of those can be imported; \`flowops plugin build\`
puts them into the bundle and names any that cannot go.

For the network and for secrets the plugin asks in its declaration, beside \`version\`:

\`\`\`${language}
permissions: { net: ['api.example.com:443'], secrets: ['API_TOKEN'] },
\`\`\`

Then \`fetch(…)\` reaches that host, and \`await context.secret('API_TOKEN')\` gives the secret: on your machine from
\`flowops sandbox run . --env-file .env\`, elsewhere from where the operator keeps it and as far as the policy grants it.
`;
}
