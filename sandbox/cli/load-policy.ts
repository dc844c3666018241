/** The policy that a command is about: a file that loads, or the strict defaults where none is named. */
import { FlowopsError } from '@flowops/proto/errors.ts';
import { strictPolicy } from '../policy/built-in.ts';
import { toPolicy } from '../policy/compile.ts';
import type { CompiledPolicy } from '../policy/decide.ts';
import type { Policy } from '../policy/decision.ts';
import { formatProblem } from '../policy/document.ts';
import { loadPolicy } from '../policy/load.ts';
import type { DockerFacts } from '../policy/machine.ts';

export interface CommandPolicy {
  /** For messages. */
  readonly name: string;
  readonly compiled: CompiledPolicy;
  readonly policy: Policy;
}

/** @throws FlowopsError CONFIG_INVALID with every problem. */
export async function commandPolicy(file: string | undefined): Promise<CommandPolicy> {
  if (file === undefined) {
    const compiled = strictPolicy();
    return { name: 'the strict policy', compiled, policy: toPolicy(compiled) };
  }
  const loaded = await loadPolicy(file);
  if (loaded.ok) return { name: file, compiled: loaded.compiled, policy: loaded.policy };
  throw new FlowopsError('CONFIG_INVALID', loaded.problems.map(formatProblem).join('\n'));
}

export async function thisDocker(): Promise<DockerFacts> {
  const { machineFindings } = await import('../doctor/container-facts.ts');
  return (await machineFindings()).containers;
}
