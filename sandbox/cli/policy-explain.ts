/** `flowops policy explain`: what a policy decides about one plugin, and why. */
import path from 'node:path';
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { loadPluginFile } from '@flowops/sdk/build/load-plugin-file.ts';
import type { PolicyRequest } from '../policy/decision.ts';
import { type Explained, explainDecision, pasteableRule, whyDecided } from '../policy/explain.ts';
import { commandPolicy } from './load-policy.ts';
import { CommandHost } from './open-host.ts';
import { openCommandLedger } from './policy-ledger.ts';
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
  const { compiled, policy } = await commandPolicy(values.SANDBOX_POLICY);
  const host = new CommandHost(() => startCommandHost({ policy: { kind: 'developer' }, settings }));
  try {
    const loaded = await loadPluginFile(plugin, {
      cacheDir: path.join(values.FLOWOPS_HOME, 'cache'),
      sandbox: () => host.open(),
    });
    if (!loaded.ok) throw new FlowopsError(loaded.code, loaded.message);
    const { digest, signature = '' } = loaded;
    const { name, version, permissions } = loaded.manifest;
    const { publisher, problem } = policy.identify({ name, version, digest, signature }, Date.now());
    const subject = { pluginId: options.id ?? name, name, publisher };
    const ledger = await openCommandLedger(values.FLOWOPS_HOME);
    const request: PolicyRequest = { ...subject, version, digest, permissions, history: ledger.recall(subject) };
    const explained: Explained = {
      request,
      decision: policy.decide(request),
      signatureProblem: problem,
      isNamed: compiled.plugins.has(subject.pluginId.toLowerCase()),
      violations: ledger.countOf(subject)?.violations ?? 0,
      why: whyDecided(compiled, request),
    };
    await ledger.close();
    if (explained.decision.kind === 'refuse') process.exitCode = EXIT.failed;
    process.stdout.write(`${options.json === true ? jsonLine(reportOf(explained)) : explainDecision(explained)}\n`);
  } finally {
    await host.close();
  }
}

function reportOf({ request, decision, signatureProblem, violations, why }: Explained): PolicyExplainReport {
  const { pluginId, name, version, digest, publisher = null, history } = request;
  return {
    plugin: { pluginId, name, version, digest, publisher, signatureProblem: signatureProblem ?? null },
    decision,
    why,
    history: { agreedName: history?.agreedName ?? null, violations, demotion: history?.demotion ?? null },
    rule: decision.kind === 'run' ? pasteableRule(request, decision) : null,
  };
}
