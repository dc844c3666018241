/**
 * Case 64, its last part: a worker that sends back a false code cache. V8 would run it in place of the plugin, in every
 * later worker of the domain, so that only what was made before any step is kept.
 */
import { ownModule } from '@flowops/proto/own-module.ts';
import type { Bench } from '../bench-contract.ts';
import { bundleOf } from '../bundle.ts';
import { ends, type PluginAttempt } from '../case.ts';
import { runStep } from '../step.ts';
import { policyText } from '../test-policy.ts';

const PLACE = { tier: 'isolate', runtime: 'isolated-vm' } as const;
/** Smaller bundles have no code cache. */
const FILLER = `/*${' '.repeat(100_000)}*/`;

function large(what: string): { name: string; attempt: PluginAttempt } {
  const attempt = ends(what, 'COMPLETED', '', { prologue: FILLER, inputs: { do: '' }, outputs: { found: 'json' } });
  return { name: 'doctor.cached', attempt };
}

/** @returns what went wrong. */
export async function tryFalseCodeCache(bench: Bench): Promise<readonly string[]> {
  const plugin = large('tells the code cache it was given');
  const entry = ownModule('../escaped-host', import.meta.url);
  const host = await bench.openHost({ policy: policyText([plugin], PLACE), entry });
  const bundle = bundleOf(plugin.name, plugin.attempt);
  const run = (order: string) => runStep(host.process, bundle, { inputs: { do: order } });
  const problems: string[] = [];
  const first = await run('cache');
  if (first.ending !== 'COMPLETED') problems.push(`an honest worker ended ${first.ending} (${first.message})`);
  const lie = await run('lie');
  if (lie.ending !== 'SANDBOX_CRASHED') problems.push(`a worker that sent a false code cache ended ${lie.ending}`);
  const next = await run('cache');
  const found = JSON.stringify(next.outputs);
  if (found !== '{"found":["made before any step"]}')
    problems.push(`the next worker was given the code cache ${found}`);
  return [...problems, ...(await host.close())];
}
