/**
 * `flowops config`: each setting in force, its value and where it came from; secrets as `***`. With `--json` one
 * object `{"settings":[{name,value,source,detail}]}`.
 */
import type { CliParts } from '@flowops/proto/cli.ts';
import { describeSettings, type SettingDescription } from '@flowops/proto/settings-reader.ts';
import type { Command } from 'commander';

export function registerConfigCommand(program: Command, parts: CliParts): void {
  program
    .command('config')
    .description('print each setting in force and where it came from')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      const settings = describeSettings(await parts.settings());
      process.stdout.write(options.json === true ? `${JSON.stringify({ settings })}\n` : settingsTable(settings));
    });
}

/** NAME, value and source in columns, one setting a line. */
export function settingsTable(settings: readonly SettingDescription[]): string {
  const rows = settings.map(({ name, value, source, detail }) => [
    name,
    value ?? '(not set)',
    detail === undefined ? source : `${source} (${detail})`,
  ]);
  const nameWidth = Math.max(...rows.map(([name = '']) => name.length));
  // A long value pushes its own source aside, not everybody's.
  const valueWidth = Math.min(40, Math.max(...rows.map(([, value = '']) => value.length)));
  return rows
    .map(
      ([name = '', value = '', source = '']) => `${name.padEnd(nameWidth)}  ${value.padEnd(valueWidth)}  ${source}\n`,
    )
    .join('');
}
