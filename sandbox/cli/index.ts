/**
 * The commands of the sandbox: what they take and how they are called. The work is in the files beside this one,
 * loaded only when their command runs.
 */
import type { CliParts } from '@flowops/proto/cli.ts';
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import type { DoctorOptions } from './doctor-command.ts';
import { registerPolicyGroup } from './policy-group.ts';
import type { SandboxRunOptions } from './run-command.ts';

const SERVE_HELP = `
Everything is a setting (docs/settings.md): SANDBOX_LISTEN, for tls:// also SANDBOX_TLS_CA, SANDBOX_TLS_CERT,
SANDBOX_TLS_KEY (each also as NAME_FILE) and SANDBOX_CLIENTS; SANDBOX_POLICY, SECRETS_DIR. Engines name it in SANDBOX_URL.`;

export function registerSandboxCommands(program: Command, parts: CliParts): void {
  registerSandboxGroup(program, parts);
  registerPolicyGroup(program, parts);
}

function registerSandboxGroup(program: Command, parts: CliParts): void {
  const sandbox = program.command('sandbox').description('sandbox hosts, and plugins in the sandbox');
  sandbox
    .command('serve')
    .description('a sandbox host for several engines, at the addresses of SANDBOX_LISTEN')
    .addHelpText('after', SERVE_HELP)
    .action(async () => {
      const { sandboxServe } = await import('./serve-command.ts');
      await sandboxServe(parts);
    });
  sandbox
    .command('run')
    .description('run one plugin, once, in the sandbox that a flow would use')
    .argument('<plugin>', 'a .ts or .js file, a folder with one, or a bundle')
    .option('--input <name=value>', 'an input, read by its declared type; may be repeated', repeated)
    .option('--inputs <file>', 'a file with one JSON object of inputs, - for standard input')
    .addOption(new Option('--tier <tier>', 'the tier to ask for').choices(['isolate', 'container']))
    .option('--policy <file>', 'the sandbox policy; without it a developer policy is used, and shown')
    .option('--env-file <file>', 'NAME=value lines that stand in for the secrets of SECRETS_DIR')
    .option('--watch', 'build and run again at every change of its files, until Ctrl-C')
    .option('--inspect', 'wait for Chrome DevTools and stop at the first line of the plugin (isolate tier)')
    .addOption(new Option('--inspect-port <port>', 'as --inspect, on this port of 127.0.0.1').argParser(portNumber))
    .option('--json', 'print one JSON object and nothing else on stdout (--watch: one line for each run)')
    .action(async (plugin: string, options: SandboxRunOptions) => {
      const { sandboxRun } = await import('./run-command.ts');
      await sandboxRun(plugin, options, parts);
    });
  sandbox
    .command('doctor')
    .description('say what this machine can enforce, and run the hostile cases against it')
    .addOption(new Option('--tier <tier>', 'only this tier').choices(['isolate', 'container']))
    .addOption(new Option('--runtime <runtime>', 'only this container runtime').choices(['runc', 'runsc']))
    .option('--case <id>', 'only this case; may be repeated', repeated)
    .option('--json', 'print one JSON object and nothing else on stdout')
    .action(async (options: DoctorOptions) => {
      const { sandboxDoctor } = await import('./doctor-command.ts');
      await sandboxDoctor(options, parts);
    });
}

function portNumber(value: string): number {
  const port = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN;
  if (port >= 0 && port <= 65_535) return port;
  throw new InvalidArgumentError('it must be a port, 0 to 65535 (0: any free one).');
}

function repeated(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
