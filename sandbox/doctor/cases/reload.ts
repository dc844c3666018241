/** Cases 64 and 65, their part about time: a policy that changes while an isolate waits, made ready under the former. */
import type { Bench } from '../bench-contract.ts';
import { bundleOf } from '../bundle.ts';
import { ends } from '../case.ts';
import { runStep } from '../step.ts';

const PLUGIN = {
  name: 'doctor.waiting',
  attempt: {
    ...ends('tells whether it has WebAssembly', 'COMPLETED', 'return { found: typeof WebAssembly };'),
    outputs: { found: 'string' },
  },
} as const;
/** So that one was used, and the next one waits. */
const STEPS_BEFORE = 3;

/** @returns what went wrong. */
export async function tryReloadWhileIsolateWaits(bench: Bench): Promise<readonly string[]> {
  const rule = { match: { plugin: PLUGIN.name, unsigned: true }, tier: 'isolate' };
  const policy = (changes: object, more: object = {}): string =>
    JSON.stringify({ version: 1, rules: [{ ...rule, ...changes }], ...more });
  const host = await bench.openHost({ policy: policy({ grants: { wasm: true }, limits: { memoryMb: 64 } }) });
  const bundle = bundleOf(PLUGIN.name, PLUGIN.attempt);
  const problems: string[] = [];
  const expectOf = async (when: string, expected: object): Promise<void> => {
    const { ending, outputs, receipt } = await runStep(host.process, bundle);
    const seen = { ending, outputs, memoryMb: receipt?.limits.memoryMb };
    if (JSON.stringify(seen) !== JSON.stringify(expected)) problems.push(`${when}: ${JSON.stringify(seen)}`);
  };
  const granted = { ending: 'COMPLETED', outputs: { found: 'object' }, memoryMb: 64 };
  for (let i = 0; i < STEPS_BEFORE; i++) await expectOf('granted', granted);
  await host.reload(policy({ limits: { memoryMb: 32 } }));
  await expectOf('a grant was taken back', { ending: 'COMPLETED', outputs: { found: 'undefined' }, memoryMb: 32 });
  await host.reload('{"version": 1, "rule": []}');
  await expectOf('a policy that does not load', { ending: 'COMPLETED', outputs: { found: 'undefined' }, memoryMb: 32 });
  await host.reload(policy({}, { revoked: { digests: [bundle.digest] } }));
  await expectOf('its digest was revoked', { ending: 'POLICY_DENIED' });
  return [...problems, ...(await host.close())];
}
