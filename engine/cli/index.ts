/**
 * The commands of the engine: what they take and how they are called. The work is in the files beside this one, loaded
 * only when their command runs.
 */
import type { CliParts } from '@flowops/proto/cli.ts';
import type { Command } from 'commander';
import type { BackupOptions } from './backup-command.ts';
import { registerConfigCommand } from './config-command.ts';
import type { EngineOptions } from './engine-command.ts';
import type { RunOptions } from './run-command.ts';
import type { ValidateOptions } from './validate-command.ts';

export function registerEngineCommands(program: Command, parts: CliParts): void {
  registerRun(program, parts);
  registerEngine(program, parts);
  registerValidate(program, parts);
  registerConfigCommand(program, parts);
  registerBackup(program, parts);
}

function registerRun(program: Command, parts: CliParts): void {
  program
    .command('run')
    .description('run one flow, start to end, without any service')
    .argument('[flow]', 'a flow file, YAML or JSON')
    .option('--resume <run>', 'take up a run that was interrupted, by its runId')
    .option('--plugins <dir>', 'the folder of the plugins (default: PLUGIN_DIR, else the folder of the flow file)')
    .option('--policy <file>', 'the sandbox policy; without it a developer policy is used, and shown')
    .option('--input <name=value>', 'an input of the flow, read by its declared type; may be repeated', repeated)
    .option('--inputs <file>', 'a file with one JSON object of inputs, - for standard input')
    .option('--run-id <id>', 'the id of the run (default: a new UUID)')
    .option('--env-file <file>', 'NAME=value lines that stand in for the secrets of SECRETS_DIR')
    .option('--json', 'print the status events and the result, one JSON object a line')
    .addHelpText(
      'after',
      '\nExamples:\n  flowops run flow.yaml --plugins ./plugins --input region=south\n  flowops run flow.yaml --json | tail -n 1',
    )
    .action(async (flow: string | undefined, options: RunOptions) => {
      const { runFlow } = await import('./run-command.ts');
      await runFlow(flow, options, parts);
    });
}

function registerEngine(program: Command, parts: CliParts): void {
  program
    .command('engine')
    .description('the service: takes commands from Kafka, keeps runs in Redis, tells their statuses')
    .option('--embedded', 'neither Kafka nor Redis: take up the runs that `flowops run` left unfinished')
    .addHelpText(
      'after',
      '\nNeeds KAFKA_BROKERS and REDIS_URL, and PLUGIN_SERVICE_ADDRESS or PLUGIN_DIR; see flowops config.',
    )
    .action(async (options: EngineOptions) => {
      const { runEngine } = await import('./engine-command.ts');
      await runEngine(options, parts);
    });
}

function registerValidate(program: Command, parts: CliParts): void {
  program
    .command('validate')
    .description('check a flow file and name every problem at once, without running anything')
    .argument('<flow>', 'a flow file, YAML or JSON')
    .option('--plugins <dir>', 'the folder of the plugins (default: PLUGIN_DIR, else the folder of the flow file)')
    .option('--json', 'print one JSON object')
    .action(async (flow: string, options: ValidateOptions) => {
      const { validateFlow } = await import('./validate-command.ts');
      await validateFlow(flow, options, parts);
    });
}

function registerBackup(program: Command, parts: CliParts): void {
  program
    .command('backup')
    .description('copy the runs of FLOWOPS_HOME into a file, also while an engine uses them')
    .argument('<file>', 'the copy; must not exist')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nTo go back to it: end every engine of that FLOWOPS_HOME, remove flowops.db, flowops.db-wal and flowops.db-shm there, and put the copy in place of flowops.db.',
    )
    .action(async (file: string, options: BackupOptions) => {
      const { backUp } = await import('./backup-command.ts');
      await backUp(file, options, parts);
    });
}

function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
