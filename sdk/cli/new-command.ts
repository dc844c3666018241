/** `flowops plugin new NAME`: a folder with a plugin that builds at once, its test and the commands to type next. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { pluginNameSchema } from '@flowops/proto/manifest.ts';
import { type Command, Option } from 'commander';
import { type PluginStyle, pluginFiles } from './plugin-template.ts';

const EXAMPLES = `
Writes a folder of that name, and nothing into one that already holds something.

Examples:
  flowops plugin new greet                          a class with decorators
  flowops plugin new acme.greet --style function    one function, types inferred
  flowops plugin new greet --dir plugins/greet`;

const SDK_FILE = fileURLToPath(import.meta.resolve('@flowops/sdk'));

interface NewCommandOptions {
  readonly style: PluginStyle;
  readonly dir?: string;
}

export function registerNewCommand(plugin: Command): void {
  plugin
    .command('new')
    .description('write a new plugin, ready to build')
    .argument('<name>', 'the name flows will use: a-z 0-9 . _ - beginning with a letter or digit')
    .addOption(new Option('--style <style>', 'how the task is written').choices(['class', 'function']).default('class'))
    .option('--dir <folder>', 'where it goes (default: a folder of that name here)')
    .addHelpText('after', EXAMPLES)
    .action(async (name: string, options: NewCommandOptions) => {
      const checked = pluginNameSchema.safeParse(name);
      if (!checked.success) {
        throw new FlowopsError(
          'USAGE_INVALID',
          `${JSON.stringify(name)} is no plugin name: it ${checked.error.issues[0]?.message}`,
        );
      }
      const folder = path.resolve(options.dir ?? name);
      await requireEmpty(folder);
      const files = pluginFiles({ name, style: options.style, sdkPath: sdkPathFrom(folder) });
      await writeFiles(folder, files);
      const shown = path.relative(process.cwd(), folder) || '.';
      process.stdout.write(`${shown}\n`);
      process.stderr.write(nextCommands(shown, [...files.keys()]));
    });
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

async function writeFiles(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    for (const [file, text] of files) await writeFile(path.join(folder, file), text, { flag: 'wx' });
  } catch (thrown) {
    throw new FlowopsError('USAGE_INVALID', `${folder} cannot be written: ${messageOf(thrown)}`, { cause: thrown });
  }
}

/** The folder of the clone that this program runs from. */
function cloneFolder(): string {
  return path.dirname(path.dirname(SDK_FILE));
}

function isInside(folder: string, parent: string): boolean {
  const relative = path.relative(parent, folder);
  return relative === '' || !(relative.startsWith('..') || path.isAbsolute(relative));
}

/**
 * Inside a clone, or where the author has installed it, TypeScript finds `@flowops/sdk` by itself. Elsewhere it is told
 * where this program's copy lies: the one that `plugin build` takes there.
 */
function sdkPathFrom(folder: string): string | undefined {
  if (isInside(folder, cloneFolder())) return undefined;
  return path.relative(folder, SDK_FILE).replaceAll(path.sep, '/');
}

function nextCommands(folder: string, files: readonly string[]): string {
  const flowops = isInside(process.cwd(), cloneFolder()) ? 'npx flowops' : 'flowops';
  return `wrote ${files.join(', ')}

next:
  ${flowops} plugin build ${folder}
  ${flowops} plugin inspect ${folder}
  ${flowops} sandbox run ${folder} --input name=World
  cd ${folder} && npm test
`;
}
