/** Small builders for flows in tests of the core. */
import type { FlowDefinition, PinnedPlugin } from '@flowops/engine/scheduler/definition.ts';

export const ECHO: PinnedPlugin = {
  pluginId: 'test.echo',
  name: 'test.echo',
  version: '1.0.0',
  digest: `sha256:${'0'.repeat(64)}`,
  inputs: { text: { type: 'string', required: false } },
  outputs: { text: { type: 'string' } },
};

/** @param after stepId → the steps it waits for. */
export function flowOf(after: Readonly<Record<string, readonly string[]>>): FlowDefinition {
  return {
    plugins: [ECHO],
    steps: Object.entries(after).map(([stepId, before]) => ({ stepId, plugin: 0, inputs: {}, after: before })),
    inputs: {},
  };
}
