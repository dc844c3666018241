/**
 * The commands of the sandbox: what they take and how they are called. The work is in the files beside this one,
 * loaded only when their command runs.
 */
import type { CliParts } from '@flowops/proto/cli.ts';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { DoctorOptions } from './doctor-command.ts';
import type { PolicyCheckOptions } from './policy-check.ts';
import type { PolicyExplainOptions } from './policy-explain.ts';
import type { SandboxRunOptions } from './run-command.ts';

export function registerSandboxCommands(program: Command, parts: CliParts): void {
  registerSandboxGroup(program, parts);
  registerPolicyGroup(program, parts);
}

function registerSandboxGroup(program: Command, parts: CliParts): void {
  const sandbox = program.command('sandbox').description('run a plugin in the sandbox');
  sandbox
    .command('run')
    .description('run one plugin, once, in the sandbox that a flow would use')
    .argument('<plugin>', 'a .ts or .js file, a folder with one, or a bundle')
    .option('--input <name=value>', 'an input, read by its declared type; may be repeated', repeated)
    .option('--inputs <file>', 'a file with one JSON object of inputs, - for standard input')
    .addOption(new Option('--tier <tier>', 'the tier to ask for').choices(['isolate', 'container']))
    .option('--policy <file>', 'the sandbox policy; without it a developer policy is used, and shown')
    .option('--env-file <file>', 'NAME=value lines that stand in for the secrets of SECRETS_DIR')
    .option('--json', 'print one JSON object and nothing else on stdout')
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

function registerPolicyGroup(program: Command, parts: CliParts): void {
  const policy = program.command('policy').description('check a sandbox policy and see what it decides');
  policy
    .command('check')
    .description('say whether a policy file loads, or every problem in it with its line')
    .argument('<file>', 'the policy file')
    .option('--json', 'print one JSON object')
    .action(async (file: string, options: PolicyCheckOptions) => {
      const { policyCheck } = await import('./policy-check.ts');
      await policyCheck(file, options);
    });
  policy
    .command('explain')
    .description('print the rule, tier, limits and grants of a plugin, and why')
    .argument('<plugin>', 'a .ts or .js file, a folder with one, or a bundle')
    .option('--policy <file>', 'the sandbox policy; without it SANDBOX_POLICY, else the strict defaults')
    .option('--id <pluginId>', 'the pluginId it is published under (default: its name)')
    .option('--json', 'print one JSON object')
    .action(async (plugin: string, options: PolicyExplainOptions) => {
      const { policyExplain } = await import('./policy-explain.ts');
      await policyExplain(plugin, options, parts);
    });
  registerPolicySchema(policy);
}

function registerPolicySchema(policy: Command): void {
  policy
    .command('schema')
    .description('print the JSON Schema of policy files, for editors')
    .action(async () => {
      const { policyJsonSchema } = await import('../policy/json-schema.ts');
      process.stdout.write(policyJsonSchema());
    });
}

function repeated(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
