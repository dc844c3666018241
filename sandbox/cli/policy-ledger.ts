/**
 * `flowops policy demotions` and `flowops policy pins`: what the sandbox hosts of this FLOWOPS_HOME remember of plugins,
 * and how an operator changes it. Hosts that run see a change within a second.
 */
import type { CliParts } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { isPluginId, nearestName } from '@flowops/proto/ids.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { pluginNameSchema } from '@flowops/proto/manifest.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { openPluginLedger, type PluginLedger, type ViolationCount } from '../ledger/plugin-ledger.ts';
import type { PolicyDemotionsReport, PolicyPinsReport } from './reports.ts';

export interface PolicyDemotionsOptions {
  readonly lift?: string;
  readonly json?: true;
}

export interface PolicyPinsOptions {
  readonly agree?: string;
  readonly json?: true;
}

/** What is wrong with its files goes to stderr. */
export function openCommandLedger(home: string): Promise<PluginLedger> {
  const say = (message: string) => {
    process.stderr.write(`${showControls(message)}\n`);
  };
  return openPluginLedger({ home, log: { info: say, warn: say, error: say } });
}

export async function policyDemotions(options: PolicyDemotionsOptions, parts: CliParts): Promise<void> {
  const { values } = await parts.settings();
  const ledger = await openCommandLedger(values.FLOWOPS_HOME);
  try {
    const lifted = options.lift === undefined ? [] : lift(ledger, options.lift);
    await ledger.settled();
    const report: PolicyDemotionsReport = { lifted, counted: ledger.counts() };
    process.stdout.write(`${options.json === true ? jsonLine(report) : demotionsText(report)}\n`);
  } finally {
    await ledger.close();
  }
}

function lift(ledger: PluginLedger, name: string): ViolationCount[] {
  const lifted = ledger.counts().filter((count) => count.name === name);
  if (lifted.length === 0) {
    const near = nearestName(
      name,
      ledger.counts().map((count) => count.name),
    );
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw new FlowopsError('USAGE_INVALID', `no violations of a plugin ${name} are counted here${hint}`);
  }
  for (const count of lifted) ledger.lift(count);
  return lifted;
}

function demotionsText({ lifted, counted }: PolicyDemotionsReport): string {
  if (lifted.length > 0) return lifted.map((count) => `lifted: ${countText(count)}`).join('\n');
  if (counted.length === 0) return 'no violations are counted';
  return counted.map(countText).join('\n');
}

function countText({
  name,
  publisher,
  pluginId,
  violations,
  demoteAfter,
  code,
  lastAt,
  demotedAt,
  rule,
}: ViolationCount): string {
  const who = publisher === null ? `${name}, unsigned, published as ${pluginId}` : `${name} of ${publisher}`;
  const state =
    demotedAt === null
      ? `${violations} of ${demoteAfter} violations`
      : `demoted since ${demotedAt}, ${violations} violations`;
  return showControls(`${who}: ${state} (the last: ${code}, ${lastAt}; ${rule})`);
}

export async function policyPins(options: PolicyPinsOptions, parts: CliParts): Promise<void> {
  const { values } = await parts.settings();
  const ledger = await openCommandLedger(values.FLOWOPS_HOME);
  try {
    if (options.agree !== undefined) {
      const { pluginId, name } = readAgreement(options.agree);
      ledger.agree(pluginId, name);
      await ledger.settled();
    }
    const report: PolicyPinsReport = { pins: ledger.pins() };
    process.stdout.write(`${options.json === true ? jsonLine(report) : pinsText(report)}\n`);
  } finally {
    await ledger.close();
  }
}

function readAgreement(text: string): { pluginId: string; name: string } {
  const at = text.indexOf('=');
  const [pluginId, name] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  if (!isPluginId(pluginId) || !pluginNameSchema.safeParse(name).success) {
    throw new FlowopsError('USAGE_INVALID', "--agree takes PLUGIN_ID=NAME, the name as the plugin's manifest has it");
  }
  return { pluginId, name };
}

function pinsText({ pins }: PolicyPinsReport): string {
  if (pins.length === 0) return 'no names of plugins are remembered';
  return pins.map(({ pluginId, name, since, by }) => `${pluginId} = ${name} (${by}, ${since})`).join('\n');
}
