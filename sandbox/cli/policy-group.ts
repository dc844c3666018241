/** The commands below `flowops policy`: what they take and how they are called; each is loaded when it runs. */
import type { CliParts } from '@flowops/proto/cli.ts';
import type { Command } from 'commander';
import type { PolicyCheckOptions } from './policy-check.ts';
import type { PolicyDiffOptions } from './policy-diff.ts';
import type { PolicyExplainOptions } from './policy-explain.ts';
import type { PolicyDemotionsOptions, PolicyPinsOptions } from './policy-ledger.ts';

const POLICY_OPTION = 'the sandbox policy; without it SANDBOX_POLICY, else the strict defaults';

export function registerPolicyGroup(program: Command, parts: CliParts): void {
  const policy = program.command('policy').description('check a sandbox policy and see what it decides');
  registerReading(policy, parts);
  registerLedger(policy, parts);
}

function registerReading(policy: Command, parts: CliParts): void {
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
    .option('--policy <file>', POLICY_OPTION)
    .option('--id <pluginId>', 'the pluginId it is published under (default: its name)')
    .option('--json', 'print one JSON object')
    .action(async (plugin: string, options: PolicyExplainOptions) => {
      const { policyExplain } = await import('./policy-explain.ts');
      await policyExplain(plugin, options, parts);
    });
  policy
    .command('diff')
    .description('list the published plugins that another policy would treat differently (exit 1 if any)')
    .argument('<new>', 'the policy file to compare with')
    .option('--policy <file>', 'the policy in force; without it SANDBOX_POLICY, else the strict defaults')
    .option('--plugins <dir>', 'where the plugins are; without it PLUGIN_DIR, else PLUGIN_SERVICE_ADDRESS')
    .option('--json', 'print one JSON object')
    .action(async (file: string, options: PolicyDiffOptions) => {
      const { policyDiff } = await import('./policy-diff.ts');
      await policyDiff(file, options, parts);
    });
  policy
    .command('schema')
    .description('print the JSON Schema of policy files, for editors')
    .action(async () => {
      const { policyJsonSchema } = await import('../policy/json-schema.ts');
      process.stdout.write(policyJsonSchema());
    });
}

function registerLedger(policy: Command, parts: CliParts): void {
  policy
    .command('demotions')
    .description('list the plugins whose violations are counted, and those that were demoted for them')
    .option('--lift <name>', 'forget the violations of a plugin: it runs where its rule says')
    .option('--json', 'print one JSON object')
    .action(async (options: PolicyDemotionsOptions) => {
      const { policyDemotions } = await import('./policy-ledger.ts');
      await policyDemotions(options, parts);
    });
  policy
    .command('pins')
    .description('list the names under which pluginIds were first used')
    .option('--agree <id=name>', 'agree to a name for a pluginId')
    .option('--json', 'print one JSON object')
    .action(async (options: PolicyPinsOptions) => {
      const { policyPins } = await import('./policy-ledger.ts');
      await policyPins(options, parts);
    });
}
