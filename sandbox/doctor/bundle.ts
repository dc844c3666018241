/** The bundle of an attempt of the catalogue. */
import { manifestSchema } from '@flowops/proto/manifest.ts';
import { type HostileBundle, moduleOf, wholeBundle } from './bundle-text.ts';
import type { PluginAttempt } from './case.ts';

export const VERSION = '1.0.0';

export function bundleOf(name: string, attempt: PluginAttempt): HostileBundle {
  const outputs = Object.fromEntries(Object.entries(attempt.outputs ?? {}).map(([key, type]) => [key, { type }]));
  const inputs = Object.fromEntries(Object.keys(attempt.inputs ?? {}).map((key) => [key, { type: 'json' }]));
  const { net = [], secrets = [] } = attempt.grants ?? {};
  const manifest = manifestSchema.parse({
    name,
    version: VERSION,
    inputs,
    outputs,
    permissions: { net, secrets },
    ...(attempt.isNode === true ? { runtime: 'node' } : {}),
  });
  return wholeBundle(manifest, attempt.module ?? moduleOf(attempt.body, manifest, attempt.prologue));
}
