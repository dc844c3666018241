/**
 * The commands of a plugin's author and of the plugin service: `flowops plugin new | build | inspect | sign | publish |
 * withdraw`, `flowops keys new` and `flowops registry serve`. One file a command; each loads what it needs inside its
 * action. stdout is the result, stderr the rest.
 */
import type { CliParts } from '@flowops/proto/cli.ts';
import type { Command } from 'commander';
import { registerBuildCommand } from './build-command.ts';
import { registerInspectCommand } from './inspect-command.ts';
import { registerKeysCommand } from './keys-command.ts';
import { registerNewCommand } from './new-command.ts';
import { registerPublishCommand } from './publish-command.ts';
import { registerServeCommand } from './serve-command.ts';
import { registerSignCommand } from './sign-command.ts';
import { registerWithdrawCommand } from './withdraw-command.ts';

const PLUGIN_EXAMPLES = `
A plugin is one file with one task. From nothing to a published version:
  flowops plugin new greet                                       a folder with a plugin, its test and the next commands
  flowops plugin build greet                                     one bundle: manifest, code, npm dependencies
  flowops plugin inspect greet                                   its inputs, outputs and what it asks for
  flowops plugin sign greet/dist/greet-1.0.0.js --key acme.pem   vouches for it (\`flowops keys new\` makes the key)
  flowops plugin publish greet/dist/greet-1.0.0.js --registry 127.0.0.1:9091
  flowops plugin withdraw greet 1.0.0 --registry 127.0.0.1:9091  takes it out of latest again`;

export function registerSdkCommands(program: Command, parts: CliParts): void {
  const plugin = program
    .command('plugin')
    .description('make, build, look at, sign, publish and withdraw plugins')
    .addHelpText('after', PLUGIN_EXAMPLES);
  registerNewCommand(plugin, parts);
  registerBuildCommand(plugin, parts);
  registerInspectCommand(plugin, parts);
  registerSignCommand(plugin, parts);
  registerPublishCommand(plugin);
  registerWithdrawCommand(plugin);
  registerKeysCommand(program);
  const registry = program.command('registry').description('the plugin service');
  registerServeCommand(registry);
}
