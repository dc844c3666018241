/** `flowops policy check` and `flowops policy explain`: what a policy file is worth, and what it does to one plugin. */
import path from 'node:path';
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { loadPluginFile } from '@flowops/sdk/build/load-plugin-file.ts';
import { strictPolicy } from '../policy/built-in.ts';
import { toPolicy } from '../policy/compile.ts';
import type { Policy, PolicyRequest } from '../policy/decision.ts';
import { formatProblem } from '../policy/document.ts';
import { explainDecision } from '../policy/explain.ts';
import { loadPolicy } from '../policy/load.ts';
import { CommandHosts } from './open-host.ts';
import { jsonLine } from './run-text.ts';
import { startCommandHost } from './start-host.ts';

export interface PolicyCheckOptions {
  readonly json?: true;
}

export interface PolicyExplainOptions {
  readonly policy?: string;
  readonly id?: string;
  readonly json?: true;
}

/** `--json`: `{"ok","file","policyHash","problems":[{file,line,key,message}]}`. */
export async function policyCheck(file: string, options: PolicyCheckOptions): Promise<void> {
  const result = await loadPolicy(file);
  if (!result.ok) process.exitCode = EXIT.usage;
  if (options.json === true) {
    const policyHash = result.ok ? result.policy.policyHash : null;
    const problems = result.ok ? [] : result.problems;
    process.stdout.write(`${jsonLine({ ok: result.ok, file, policyHash, problems })}\n`);
    return;
  }
  if (result.ok) {
    const { rules = [], tests = [] } = result.document;
    const counts = `${count(rules.length, 'rule')}, ${count(tests.length, 'test')} passed`;
    process.stdout.write(`${file} is valid: ${counts}, ${result.policy.policyHash}\n`);
    return;
  }
  for (const problem of result.problems) {
    process.stderr.write(`${showControls(formatProblem(problem))}\n`);
  }
  process.stderr.write(`flowops: ${file} does not load: ${count(result.problems.length, 'problem')}\n`);
}

/** `--json`: `{"plugin":{pluginId,name,version,digest},"decision":{…}}`. */
export async function policyExplain(plugin: string, options: PolicyExplainOptions, parts: CliParts): Promise<void> {
  const { values } = await parts.settings({ SANDBOX_POLICY: options.policy });
  const policy = await policyFrom(values.SANDBOX_POLICY);
  const hosts = new CommandHosts((wanted) => startCommandHost(wanted, values));
  try {
    const loaded = await loadPluginFile(plugin, {
      cacheDir: path.join(values.FLOWOPS_HOME, 'cache'),
      sandbox: () => hosts.open({ kind: 'developer' }),
    });
    if (!loaded.ok) throw new FlowopsError(loaded.code, loaded.message);
    const { name, version, permissions } = loaded.manifest;
    const request: PolicyRequest = {
      pluginId: options.id ?? name,
      name,
      version,
      digest: loaded.digest,
      publisher: undefined,
      permissions,
    };
    const decision = policy.decide(request);
    if (decision.kind === 'refuse') process.exitCode = EXIT.failed;
    if (options.json === true) {
      const { pluginId, digest } = request;
      process.stdout.write(`${jsonLine({ plugin: { pluginId, name, version, digest }, decision })}\n`);
    } else {
      process.stdout.write(`${explainDecision(request, decision)}\n`);
    }
  } finally {
    await hosts.close();
  }
}

async function policyFrom(file: string | undefined): Promise<Policy> {
  if (file === undefined) return toPolicy(strictPolicy());
  const loaded = await loadPolicy(file);
  if (loaded.ok) return loaded.policy;
  throw new FlowopsError('CONFIG_INVALID', loaded.problems.map(formatProblem).join('\n'));
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
