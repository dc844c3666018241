/** `flowops policy explain`: what a policy decides about one plugin, and why. */
import path from 'node:path';
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { loadPluginFile } from '@flowops/sdk/build/load-plugin-file.ts';
import { strictPolicy } from '../policy/built-in.ts';
import { toPolicy } from '../policy/compile.ts';
import type { Policy, PolicyRequest } from '../policy/decision.ts';
import { formatProblem } from '../policy/document.ts';
import { explainDecision } from '../policy/explain.ts';
import { loadPolicy } from '../policy/load.ts';
import { CommandHost } from './open-host.ts';
import type { PolicyExplainReport } from './reports.ts';
import { startCommandHost } from './start-host.ts';

export interface PolicyExplainOptions {
  readonly policy?: string;
  readonly id?: string;
  readonly json?: true;
}

export async function policyExplain(plugin: string, options: PolicyExplainOptions, parts: CliParts): Promise<void> {
  const settings = await parts.settings({ SANDBOX_POLICY: options.policy });
  const { values } = settings;
  const policy = await policyFrom(values.SANDBOX_POLICY);
  const host = new CommandHost(() => startCommandHost({ kind: 'developer' }, settings));
  try {
    const loaded = await loadPluginFile(plugin, {
      cacheDir: path.join(values.FLOWOPS_HOME, 'cache'),
      sandbox: () => host.open(),
    });
    if (!loaded.ok) throw new FlowopsError(loaded.code, loaded.message);
    const { name, version, permissions } = loaded.manifest;
    const pluginId = options.id ?? name;
    const { digest } = loaded;
    const request: PolicyRequest = { pluginId, name, version, digest, publisher: undefined, permissions };
    const decision = policy.decide(request);
    if (decision.kind === 'refuse') process.exitCode = EXIT.failed;
    const report: PolicyExplainReport = { plugin: { pluginId, name, version, digest }, decision };
    process.stdout.write(`${options.json === true ? jsonLine(report) : explainDecision(request, decision)}\n`);
  } finally {
    await host.close();
  }
}

async function policyFrom(file: string | undefined): Promise<Policy> {
  if (file === undefined) return toPolicy(strictPolicy());
  const loaded = await loadPolicy(file);
  if (loaded.ok) return loaded.policy;
  throw new FlowopsError('CONFIG_INVALID', loaded.problems.map(formatProblem).join('\n'));
}
