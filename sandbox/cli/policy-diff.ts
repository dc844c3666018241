/** `flowops policy diff`: which published plugins another policy would treat differently. Exit 1 when there are any. */
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { changeOf, type DiffSide } from '../policy/diff.ts';
import { type CommandPolicy, commandPolicy } from './load-policy.ts';
import { publishedPlugins } from './published-plugins.ts';
import type { PolicyDiffReport } from './reports.ts';

export interface PolicyDiffOptions {
  readonly policy?: string;
  readonly plugins?: string;
  readonly json?: true;
}

export async function policyDiff(file: string, options: PolicyDiffOptions, parts: CliParts): Promise<void> {
  const settings = await parts.settings({ SANDBOX_POLICY: options.policy });
  const former = await commandPolicy(settings.values.SANDBOX_POLICY);
  const next = await commandPolicy(file);
  const interrupted = new AbortController();
  const onSignal = () => interrupted.abort();
  process.once('SIGINT', onSignal);
  try {
    const plugins = await publishedPlugins({
      dir: options.plugins,
      settings,
      parts,
      say: (line) => process.stderr.write(`${showControls(line)}\n`),
      signal: interrupted.signal,
    });
    const nowMs = Date.now();
    const changes = plugins.flatMap(({ pluginId, digest, signature, manifest }) => {
      const { name, version, permissions } = manifest;
      const claim = { name, version, digest, signature };
      const change = changeOf({ pluginId, claim, permissions }, sideOf(former, nowMs), sideOf(next, nowMs));
      return change === undefined ? [] : [change];
    });
    const report: PolicyDiffReport = {
      old: { file: former.compiled.file ?? null, policyHash: former.compiled.policyHash },
      new: { file: next.compiled.file ?? null, policyHash: next.compiled.policyHash },
      plugins: plugins.length,
      changes,
    };
    if (changes.length > 0) process.exitCode = EXIT.failed;
    const head = `${former.name} → ${next.name}`;
    process.stdout.write(`${options.json === true ? jsonLine(report) : diffText(head, report)}\n`);
  } finally {
    process.off('SIGINT', onSignal);
  }
}

function sideOf({ compiled, policy }: CommandPolicy, nowMs: number): DiffSide {
  return { compiled, identify: (claim) => policy.identify(claim, nowMs) };
}

function diffText(head: string, { plugins, changes }: PolicyDiffReport): string {
  const count = `${changes.length} of ${plugins} published ${plugins === 1 ? 'version' : 'versions'}`;
  const total = `${showControls(head)}: ${changes.length === 0 ? `nothing changes for ${plugins}` : `${count} would change`}`;
  return [...changes.map(changeText), total].join('\n');
}

function changeText({ plugin, fields }: PolicyDiffReport['changes'][number]): string {
  const { name, version, pluginId } = plugin;
  const alias = pluginId === name ? '' : ` (published as ${pluginId})`;
  const width = Math.max(...fields.map(({ field }) => field.length));
  const rows = fields.map((one) => `  ${one.field.padEnd(width)}  ${one.old} → ${one.new}`);
  return [`${name} ${version}${alias}`, ...rows].map((line) => showControls(line)).join('\n');
}
