/**
 * `flowops plugin inspect PLUGIN`: what a plugin declares. Of a built bundle the first line is read and nothing else; a
 * source is built, and evaluated in a sandbox.
 */
import type { CliParts } from '@flowops/proto/cli.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Command } from 'commander';
import { buildError } from './build-command.ts';
import { withBuildSandbox } from './build-sandbox.ts';
import { manifestText } from './manifest-text.ts';
import { jsonLine } from './reports.ts';

const EXAMPLES = `
Examples:
  flowops plugin inspect greet.ts                   a source is built first
  flowops plugin inspect dist/greet-1.0.0.js        a bundle tells its first line, nothing of it runs
  flowops plugin inspect greet --json               {"plugin","digest","manifest"}`;

export function registerInspectCommand(plugin: Command, parts: CliParts): void {
  plugin
    .command('inspect')
    .description("show a plugin's inputs, outputs and what it asks for")
    .argument('<plugin>', 'a source file, a folder with one, or a built bundle')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (source: string, options: { json?: true }) => {
      const { loadPluginFile } = await import('../build/load-plugin-file.ts');
      const loaded = await withBuildSandbox(parts, (sandbox) => loadPluginFile(source, sandbox));
      if (!loaded.ok) throw buildError(loaded);
      const { digest, manifest } = loaded;
      if (options.json === true) process.stdout.write(jsonLine({ plugin: source, digest, manifest }));
      else process.stdout.write(showControls(manifestText(manifest, digest), { keepLines: true }));
    });
}
