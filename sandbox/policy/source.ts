/**
 * Where a sandbox host gets its policy from: a file that is watched (watched-file.ts, loaded only then), or one of the
 * two built-in policies.
 */
import { FlowopsError } from '@flowops/proto/errors.ts';
import { developerPolicy, strictPolicy } from './built-in.ts';
import { toPolicy } from './compile.ts';
import type { Policy, PolicyLog, PolicySource } from './decision.ts';
import type { DockerFacts } from './machine.ts';

export interface OpenPolicyOptions {
  /** SANDBOX_POLICY. Absent: strict defaults, or the developer policy. */
  readonly file?: string;
  /** `sandbox/main.ts --developer-policy`. Not together with `file`. */
  readonly developer?: boolean;
  readonly log: PolicyLog;
  readonly pollMs?: number;
  /** What Docker can do; asked when a policy that depends on it loads. */
  readonly docker?: () => Promise<DockerFacts>;
}

/** @throws FlowopsError CONFIG_INVALID with every problem of the file. */
export async function openPolicy(options: OpenPolicyOptions): Promise<PolicySource> {
  const { file, developer = false, log, pollMs, docker } = options;
  if (file === undefined) return fixedSource(toPolicy(developer ? developerPolicy() : strictPolicy()));
  if (developer) throw new FlowopsError('CONFIG_INVALID', 'a policy file and the developer policy exclude each other');
  const { watchPolicyFile } = await import('./watched-file.ts');
  return await watchPolicyFile({
    file,
    log,
    ...(pollMs === undefined ? {} : { pollMs }),
    ...(docker === undefined ? {} : { docker }),
  });
}

function fixedSource(policy: Policy): PolicySource {
  return { current: () => policy, onChange: () => () => {}, close: async () => {} };
}
