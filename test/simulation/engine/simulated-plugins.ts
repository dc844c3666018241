/** The plugin service of a simulation: one plugin for each kind of code, with one input and one output. */
import type { BundleResult, PluginSource, ResolveResult } from '@flowops/proto/plugin-source.ts';
import { MISSING_PLUGIN } from '../plan/flows.ts';
import { Unreachable, type Wire } from '../world/wire.ts';

export class SimulatedPlugins implements PluginSource {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  async resolve(pluginId: string): Promise<ResolveResult> {
    try {
      return await this.#wire.call(`resolve ${pluginId}`, () => answer(pluginId));
    } catch (thrown) {
      if (!(thrown instanceof Unreachable)) throw thrown;
      return { ok: false, code: 'SANDBOX_UNAVAILABLE', message: 'the plugin service did not answer' };
    }
  }

  async bundle(): Promise<BundleResult> {
    return { ok: false, code: 'PLUGIN_NOT_FOUND', message: 'a simulated host needs no bundle' };
  }

  async signature(): Promise<undefined> {
    return undefined;
  }

  async sourceMap(): Promise<undefined> {
    return undefined;
  }

  async names(): Promise<readonly string[]> {
    return [];
  }

  async close(): Promise<void> {}
}

function answer(pluginId: string): ResolveResult {
  if (pluginId === MISSING_PLUGIN) return { ok: false, code: 'PLUGIN_NOT_FOUND', message: `there is no ${pluginId}` };
  const manifest = {
    name: pluginId,
    version: '1.0.0',
    description: '',
    permissions: { net: [], secrets: [] },
    inputs: { text: { type: 'string', required: true } },
    outputs: { text: { type: 'string' } },
  } as const;
  const digest = `sha256:${Buffer.from(pluginId).toString('hex').padEnd(64, '0').slice(0, 64)}`;
  return { ok: true, plugin: { pluginId, digest, manifest: { ...manifest, permissions: { net: [], secrets: [] } } } };
}
