/** `flowops plugin withdraw ID VERSION --registry HOST:PORT [--restore]`: takes a version out of latest, or puts it back. */
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Command } from 'commander';
import type { WithdrawnVersion } from '../registry/withdraw-plugin.ts';
import { registryError } from './registry-error.ts';
import { jsonLine } from './reports.ts';

const EXAMPLES = `
A withdrawn version is no longer what flows get that name no version. Runs that began with it go on, and who names it
exactly still gets it. To keep it from running at all, deny it in the sandbox policy.

Examples:
  flowops plugin withdraw acme.greet 1.1.0 --registry 127.0.0.1:9091
  flowops plugin withdraw acme.greet 1.1.0 --registry 127.0.0.1:9091 --restore`;

interface WithdrawCommandOptions {
  readonly registry: string;
  readonly restore?: true;
  readonly json?: true;
}

export function registerWithdrawCommand(plugin: Command): void {
  plugin
    .command('withdraw')
    .description('take a published version out of latest, or put it back')
    .argument('<plugin-id>', 'the id that flows name the plugin by')
    .argument('<version>', 'the exact version, like 1.1.0')
    .requiredOption('--registry <host:port>', 'address of the plugin service')
    .option('--restore', 'put it back')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (pluginId: string, version: string, options: WithdrawCommandOptions) => {
      const restore = options.restore === true;
      const { withdrawPlugin } = await import('../registry/withdraw-plugin.ts');
      const result = await withdrawPlugin({ registry: options.registry, pluginId, version, restore });
      if (!result.ok) throw registryError(result);
      const { id, latest = null } = result;
      if (options.json === true) {
        process.stdout.write(jsonLine({ pluginId, version, id, withdrawn: !restore, latest }));
      } else {
        const done = `${pluginId} ${version} is ${restore ? 'restored' : 'withdrawn'}`;
        process.stdout.write(`${showControls(done)}\n${latestText(result)}`);
      }
    });
}

function latestText({ pluginId, latest }: WithdrawnVersion): string {
  if (latest === undefined) return '';
  if (latest === null) return `no release of ${pluginId} is left: flows that name no version of it do not start\n`;
  return `the latest is ${latest}\n`;
}
