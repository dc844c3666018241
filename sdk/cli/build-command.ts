/** `flowops plugin build SRC [--out FILE]`: a bundle and its source map; prints the bundle's path and digest. */
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { CliParts } from '@flowops/proto/cli.ts';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Command } from 'commander';
import { type BuildFailure, type BuiltPlugin, formatProblem } from '../build/build-result.ts';
import { withBuildSandbox } from './build-sandbox.ts';
import { jsonLine } from './reports.ts';

const EXAMPLES = `
SRC is a .ts or .js file, or a folder with one (package.json "main", an index file, or the only file that is no test).
Nothing of the plugin runs in this process: its manifest is read in a sandbox.

Examples:
  flowops plugin build greet.ts                     writes dist/greet-1.0.0.js beside the source
  flowops plugin build greet --out greet.js
  flowops plugin build greet --json                 {"bundle","digest","manifest"}`;

interface BuildCommandOptions {
  readonly out?: string;
  readonly json?: true;
}

export function registerBuildCommand(plugin: Command, parts: CliParts): void {
  plugin
    .command('build')
    .description('build a plugin into one file, dependencies included')
    .argument('<src>', 'a .ts or .js file, or a folder with one')
    .option('--out <file>', 'where the bundle goes (default: dist/<name>-<version>.js beside the source)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (source: string, options: BuildCommandOptions) => {
      const { buildPlugin } = await import('../build/build-plugin.ts');
      const built = await withBuildSandbox(parts, (sandbox) => buildPlugin(source, sandbox));
      if (!built.ok) throw buildError(built);
      for (const warning of built.warnings) {
        process.stderr.write(`warning: ${showControls(formatProblem(warning), { keepLines: true })}\n`);
      }
      const file = options.out ?? (await defaultBundlePath(source, built.manifest));
      await writeBundle(file, built);
      const { digest, manifest } = built;
      if (options.json === true) process.stdout.write(jsonLine({ bundle: file, digest, manifest }));
      else process.stdout.write(`${file}\n${digest}\n`);
    });
}

/** The failure as the bin reports it. A source that is not there is a wrong call, not a broken plugin. */
export function buildError(failure: BuildFailure): FlowopsError {
  const code = failure.code === 'PLUGIN_NOT_FOUND' ? 'USAGE_INVALID' : failure.code;
  return new FlowopsError(code, showControls(failure.message, { keepLines: true }));
}

async function defaultBundlePath(source: string, manifest: Manifest): Promise<string> {
  const folder = (await stat(source)).isDirectory() ? source : path.dirname(source);
  return path.join(folder, 'dist', `${manifest.name}-${manifest.version}.js`);
}

async function writeBundle(file: string, built: BuiltPlugin): Promise<void> {
  const status = await stat(file).catch(() => undefined);
  if (status?.isDirectory() === true) {
    throw new FlowopsError('USAGE_INVALID', `--out ${file} is a folder; name the file that the bundle goes to`);
  }
  try {
    await mkdir(path.dirname(file), { recursive: true });
    // A signature of other bytes would only make the new ones look forged.
    const before = await readFile(file).catch(() => undefined);
    if (before === undefined || digestOf(before) !== built.digest) await rm(`${file}.sig`, { force: true });
    await writeWhole(`${file}.map`, built.sourceMap);
    await writeWhole(file, built.bundle);
  } catch (thrown) {
    throw new FlowopsError('CONFIG_INVALID', `the bundle cannot be written to ${file}: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

/** A reader beside us (a plugin folder, a watcher) sees the old file or the new one. */
async function writeWhole(file: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, data);
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}
