/** Where a step failed, as it is told to a program and to a person. */
import path from 'node:path';
import { StepFrames } from '@flowops/engine/cli/step-frames.ts';
import { stepError } from '@flowops/engine/embedded/step-error.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { transform } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { sourceTree } from '../../../support/source-tree.ts';

const SOURCE = 'type Order = { id: string };\nexport function id(order: Order) {\n  return order.id;\n}\n';
const DIGEST = `sha256:${'a'.repeat(64)}`;

/** What a source of plugins knows about one bundle. */
function source(known: { sourceMap?: () => Promise<string | undefined>; folder?: string }): PluginSource {
  return {
    resolve: async () => ({ ok: false, code: 'PLUGIN_NOT_FOUND', message: 'not asked for here' }),
    bundle: async () => ({ ok: false, code: 'PLUGIN_NOT_FOUND', message: 'not asked for here' }),
    signature: async () => undefined,
    sourceMap: known.sourceMap ?? (async () => undefined),
    ...(known.folder === undefined ? {} : { sourceFolder: () => known.folder }),
    names: async () => [],
    close: async () => {},
  };
}

async function failedAt(plugins: PluginSource, stack: string): Promise<string> {
  const run = { flowId: 'orders', runId: 'r1' };
  const plugin = { pluginId: 'acme.order', version: '1.0.0', digest: DIGEST };
  const failure = { plugin, code: 'PLUGIN_ERROR', message: 'no order', stack } as const;
  const error = stepError({ run, stepId: 'read', failure, plugins });
  expect(error).toMatchObject({ ...run, stepId: 'read', code: 'PLUGIN_ERROR', message: 'no order' });
  return await error.frames();
}

describe('the frames of a failed step', () => {
  it("are the author's own lines, with the code around them where the plugin was built from sources here", async () => {
    const folder = sourceTree({ 'order.ts': SOURCE });
    const made = await transform(SOURCE, { loader: 'ts', sourcemap: 'external', sourcefile: 'order.ts' });
    const line = made.code.split('\n').findIndex((text) => text.includes('order.id')) + 1;
    const stack = `TypeError: no order\n    at id (plugin.js:${line}:10)`;
    const sourceMap = async () => made.map;
    const file = path.relative(process.cwd(), path.join(folder, 'order.ts'));
    expect(await failedAt(source({ sourceMap, folder }), stack)).toMatch(
      new RegExp(`^${file}:3:\\d+: thrown here\n.*\n.*\n {2}3 \\| {3}return order\\.id;\n`),
    );
    expect(await failedAt(source({ sourceMap }), stack)).toMatch(/^order\.ts:3:\d+: thrown here$/);
  });

  it('are those of the bundle without a map, and none where the failure has no stack', async () => {
    const stack = 'Error: no\n    at start (plugin.js:7:3)';
    expect(await failedAt(source({}), stack)).toBe('    at start (plugin.js:7:3)');
    expect(await failedAt(source({}), '')).toBe('');
  });

  it('are shown without what cannot be read', async () => {
    const sourceMap = () => Promise.reject(new Error('the disk is gone'));
    expect(await failedAt(source({ sourceMap }), 'Error\n    at f (x:1:1)')).toBe('    at f (x:1:1)');
  });
});

describe('what flowops run shows of them', () => {
  it('is waited for, and bounded', async () => {
    const shown: string[] = [];
    const frames = new StepFrames({ stepFrames: (stepId, text) => shown.push(`${stepId} ${text}`) });
    let asked = 0;
    for (let step = 0; step < 150; step++) {
      frames.show({ stepId: `s${step}`, frames: async () => `frame ${++asked}` });
    }
    await frames.shown();
    expect(shown).toHaveLength(100);
    expect(asked).toBe(100);
    expect(shown[0]).toBe('s0 frame 1');
  });
});
