/**
 * `flowops plugin new NAME`: a folder with a plugin that works at once, its test, and what both need installed. Without
 * npm or a network the folder is complete all the same: `sandbox run` and `plugin build` bring their own SDK.
 */
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { pluginNameSchema } from '@flowops/proto/manifest.ts';
import { IS_PACKED } from '@flowops/proto/own-module.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { type Command, Option } from 'commander';
import { type InstallResult, installPackages } from './install-packages.ts';
import { FLOW_SCHEMA, type PluginStyle, pluginFiles } from './plugin-template.ts';

const EXAMPLES = `
Writes a folder of that name, and nothing into one that already holds something; then \`npm install\` in it.

Examples:
  flowops plugin new greet                          a class with decorators
  flowops plugin new acme.greet --style function    one function, types inferred
  flowops plugin new greet --js                     the function in plain JavaScript
  flowops plugin new greet --dir plugins/greet --no-install`;

/** Goes with the folder into its repository: the name @flowops/sdk is not published. */
const SDK_FOLDER = 'vendor';

interface NewCommandOptions {
  readonly style?: PluginStyle;
  readonly js?: true;
  readonly dir?: string;
  readonly install: boolean;
}

export function registerNewCommand(plugin: Command, parts: Pick<CliParts, 'packedSdk'>): void {
  plugin
    .command('new')
    .description('write a new plugin with its test, ready to run')
    .argument('<name>', 'the name flows will use: a-z 0-9 . _ - beginning with a letter or digit')
    .addOption(new Option('--style <style>', 'how the task is written (default: class)').choices(['class', 'function']))
    .option('--js', 'plain JavaScript, as a function')
    .option('--dir <folder>', 'where it goes (default: a folder of that name here)')
    .option('--no-install', 'leave `npm install` out')
    .addHelpText('after', EXAMPLES)
    .action(async (name: string, options: NewCommandOptions) => {
      checkCall(name, options);
      const folder = path.resolve(options.dir ?? name);
      await requireEmpty(folder);
      const files = await writePlugin(folder, name, options, parts);
      const shown = path.relative(process.cwd(), folder) || '.';
      process.stdout.write(`${shown}\n`);
      process.stderr.write(`wrote ${files.join(', ')}\n`);
      if (!options.install) {
        process.stderr.write(nextCommands(shown, false));
        return;
      }
      const installed = await install(folder);
      process.stderr.write(installText(installed, shown) + nextCommands(shown, installed.kind === 'installed'));
      if (installed.kind === 'interrupted') process.exitCode = EXIT.interrupted;
      else if (installed.kind !== 'installed') process.exitCode = EXIT.infrastructure;
    });
}

function checkCall(name: string, { style, js }: NewCommandOptions): void {
  const checked = pluginNameSchema.safeParse(name);
  if (!checked.success) {
    const problem = checked.error.issues[0]?.message;
    throw new FlowopsError('USAGE_INVALID', `${JSON.stringify(name)} is no plugin name: it ${problem}`);
  }
  if (js === true && style === 'class') {
    throw new FlowopsError(
      'USAGE_INVALID',
      'decorators are no part of JavaScript yet: leave --js out for a class, or --style class for a function',
    );
  }
}

async function requireEmpty(folder: string): Promise<void> {
  const names = await readdir(folder).catch((thrown: unknown) => {
    const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
    if (code === 'ENOENT') return [];
    const why = code === 'ENOTDIR' ? 'is a file' : `cannot be read: ${messageOf(thrown)}`;
    throw new FlowopsError('USAGE_INVALID', `${folder} ${why}; choose another name or --dir`);
  });
  if (names.length === 0) return;
  throw new FlowopsError(
    'USAGE_INVALID',
    `${folder} already holds ${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}; nothing was written. Choose another name or --dir`,
  );
}

/** Gives the names of the files. */
async function writePlugin(
  folder: string,
  name: string,
  options: NewCommandOptions,
  parts: Pick<CliParts, 'packedSdk'>,
): Promise<readonly string[]> {
  const packed = await parts.packedSdk();
  const sdkFile = `${SDK_FOLDER}/flowops-sdk-${packed.version}.tgz`;
  const isScript = options.js === true;
  const files = pluginFiles({
    name,
    style: options.style ?? (isScript ? 'function' : 'class'),
    language: isScript ? 'js' : 'ts',
    sdk: `file:${sdkFile}`,
  });
  const { flowJsonSchema } = await import('@flowops/proto/flow-json-schema.ts');
  const all = new Map([...files, [FLOW_SCHEMA, flowJsonSchema()]]);
  try {
    for (const [file, text] of all) {
      await mkdir(path.dirname(path.join(folder, file)), { recursive: true });
      await writeFile(path.join(folder, file), text, { flag: 'wx' });
    }
    await mkdir(path.join(folder, SDK_FOLDER), { recursive: true });
    await copyFile(packed.file, path.join(folder, sdkFile));
  } catch (thrown) {
    throw new FlowopsError('USAGE_INVALID', `${folder} cannot be written: ${messageOf(thrown)}`, { cause: thrown });
  }
  return [...all.keys(), sdkFile];
}

/** Ctrl-C ends npm, not the folder. */
async function install(folder: string): Promise<InstallResult> {
  process.stderr.write('installing with npm: the SDK from that file, vitest from the network …\n');
  const interrupt = new AbortController();
  const onInterrupt = (): void => interrupt.abort();
  process.once('SIGINT', onInterrupt);
  try {
    return await installPackages(folder, { signal: interrupt.signal });
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

function installText(result: InstallResult, folder: string): string {
  const later = `The plugin is there and runs without it; its test needs it. Later: cd ${folder} && npm install\n`;
  switch (result.kind) {
    case 'installed':
      return 'installed\n';
    case 'no-npm':
      return `npm was not found in PATH, so nothing was installed. ${later}`;
    case 'interrupted':
      return `stopped before npm was done. ${later}`;
    case 'failed': {
      const detail = showControls(result.detail, { keepLines: true }).replaceAll('\n', '\n  ');
      return `npm could not install:\n  ${detail}\n${later}`;
    }
  }
}

function nextCommands(folder: string, isInstalled: boolean): string {
  const flowops = isInClone(process.cwd()) ? 'npx flowops' : 'flowops';
  return `
next:
  ${flowops} sandbox run ${folder} --input name=World
  cd ${folder} && ${isInstalled ? '' : 'npm install && '}npm test
`;
}

/** Only there npx finds the program; anywhere else it would ask the network for one of that name. */
function isInClone(folder: string): boolean {
  const relative = path.relative(path.resolve(import.meta.dirname, '../..'), folder);
  return !IS_PACKED && !(relative.startsWith('..') || path.isAbsolute(relative));
}
