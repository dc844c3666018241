/**
 * The command line program under Node 24: the map of commands, and what holds for all of them (exit codes, one clear
 * sentence for an error, one line of JSON for a wrong call under `--json`). The commands themselves are in the `cli/`
 * folders of the parts; this is the only place that sees more than one part.
 *
 * A start loads only the part that owns the command; help and a wrong name load all of them.
 */
import { type CliParts, EXIT, exitCodeOf } from '@flowops/proto/cli.ts';
import { type ErrorCode, FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { Command, CommanderError } from 'commander';
import { readVersion } from './node24.mjs';

const COMMANDS_OF_SANDBOX = ['sandbox', 'policy'];
const COMMANDS_OF_SDK = ['plugin', 'keys', 'registry'];
const COMMANDS_OF_ENGINE = ['run', 'engine', 'validate', 'config', 'backup'];

/** Codes of the system that say that a path or an address given to us is wrong. */
const WRONG_PLACE = new Set(['ENOENT', 'EACCES', 'EPERM', 'EISDIR', 'ENOTDIR', 'EROFS', 'EADDRINUSE', 'EADDRNOTAVAIL']);

const HELP_AFTER = `
Examples:
  flowops run flow.yaml --plugins ./plugins      one flow, start to end, no services
  flowops plugin new my-plugin                   a plugin with its test
  flowops sandbox run my-plugin.ts --input a=1   one plugin in the real sandbox
  flowops COMMAND --help                         what a command takes

Exit codes: 0 done, 1 the flow or plugin failed, 2 wrong use or configuration, 3 infrastructure, 130 Ctrl-C.`;

const args = process.argv.slice(2);
const optionsEnd = args.indexOf('--');
const ownArgs = optionsEnd === -1 ? args : args.slice(0, optionsEnd);
const isJson = ownArgs.includes('--json');

// A reader that closes early (`flowops … | head`) is no error of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT.done);
  throw error;
});

await main();

async function main(): Promise<void> {
  const program = makeProgram();
  try {
    await registerCommands(program, makeParts(program));
    applyToAll(program);
    if (args.length === 0) throw new FlowopsError('USAGE_INVALID', 'no command given; see flowops --help');
    await program.parseAsync(args, { from: 'user' });
  } catch (thrown) {
    endWith(thrown);
  }
}

function makeProgram(): Command {
  return new Command('flowops')
    .description('Runs flows of plugins, each step in a sandbox.')
    .version(readVersion(), '-V, --version', 'print the version')
    .option('--config <file>', 'a YAML file of settings (docs/settings.md)')
    .addHelpText('after', HELP_AFTER);
}

function makeParts(program: Command): CliParts {
  return {
    version: readVersion(),
    async openPluginFolder(dir, options) {
      const { openPluginFolder } = await import('@flowops/sdk/registry/plugin-folder.ts');
      return openPluginFolder(dir, options);
    },
    async packedSdk() {
      const { packedSdk } = await import('./packed-sdk.ts');
      return packedSdk();
    },
    async settings(flags) {
      const { requireSettings } = await import('@flowops/proto/settings-reader.ts');
      const { config } = program.opts<{ config?: string }>();
      return requireSettings({ env: process.env, ...(flags && { flags }), ...(config && { file: config }) });
    },
  };
}

async function registerCommands(program: Command, parts: CliParts): Promise<void> {
  const command = ownArgs.find((arg, i) => !arg.startsWith('-') && ownArgs[i - 1] !== '--config');
  const owners = [
    { commands: COMMANDS_OF_ENGINE, load: registerEngine },
    { commands: COMMANDS_OF_SANDBOX, load: registerSandbox },
    { commands: COMMANDS_OF_SDK, load: registerSdk },
  ];
  const owner = owners.find(({ commands }) => command !== undefined && commands.includes(command));
  for (const { load } of owner === undefined ? owners : [owner]) await load(program, parts);
}

async function registerEngine(program: Command, parts: CliParts): Promise<void> {
  const { registerEngineCommands } = await import('@flowops/engine/cli/index.ts');
  registerEngineCommands(program, parts);
}

async function registerSandbox(program: Command, parts: CliParts): Promise<void> {
  const { registerSandboxCommands } = await import('@flowops/sandbox/cli/index.ts');
  registerSandboxCommands(program, parts);
}

async function registerSdk(program: Command, parts: CliParts): Promise<void> {
  const { registerSdkCommands } = await import('@flowops/sdk/cli/index.ts');
  registerSdkCommands(program, parts);
}

/** Errors are thrown to `main` instead of ending the process, and each message says where the options are told. */
function applyToAll(command: Command): void {
  command.exitOverride();
  command.configureOutput({ writeErr: () => undefined });
  for (const sub of command.commands) applyToAll(sub);
}

function endWith(thrown: unknown): void {
  if (thrown instanceof CommanderError) {
    // --help and --version have printed what was asked for.
    if (thrown.exitCode === 0) return;
    fail('USAGE_INVALID', usageMessage(thrown));
  } else if (thrown instanceof FlowopsError) {
    fail(thrown.code, thrown.message);
  } else if (isSystemError(thrown)) {
    // A path or an address that is wrong has to be changed; for anything else of the system a later try may work.
    fail(WRONG_PLACE.has(thrown.code) ? 'CONFIG_INVALID' : 'SANDBOX_UNAVAILABLE', thrown.message);
  } else {
    fail('PROTOCOL_ERROR', `this should not have happened, please report it: ${messageOf(thrown)}`);
    if (!isJson && thrown instanceof Error) process.stderr.write(`${thrown.stack}\n`);
  }
}

/** An error that Node got from the operating system. */
function isSystemError(thrown: unknown): thrown is Error & { code: string } {
  return thrown instanceof Error && 'syscall' in thrown && 'code' in thrown && typeof thrown.code === 'string';
}

/** Commander's sentence without its prefix; a group such as `flowops plugin` without a command has none of its own. */
function usageMessage(error: CommanderError): string {
  if (error.code === 'commander.help') return 'no command given; add --help to see the commands';
  return error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
}

function fail(code: ErrorCode, message: string): void {
  process.exitCode = exitCodeOf(code);
  if (isJson) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  else process.stderr.write(`flowops: ${message}\n`);
}
