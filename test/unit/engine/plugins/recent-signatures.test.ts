import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { RecentSignatures } from '../../../../engine/plugins/recent-signatures.ts';

const PLUGIN = { pluginId: 'core.hello', version: '1.0.0', digest: `sha256:${'a'.repeat(64)}` };
const { signal } = new AbortController();

let asked: string[];
let newest: string | undefined;
let now: number;
let recent: RecentSignatures;
beforeEach(() => {
  asked = [];
  newest = 'first';
  now = 1_000;
  const source: PluginSource = {
    resolve: async () => ({ ok: false, code: 'PLUGIN_NOT_FOUND', message: '' }),
    bundle: async () => ({ ok: false, code: 'PLUGIN_NOT_FOUND', message: '' }),
    signature: async ({ digest }) => {
      asked.push(digest);
      return newest;
    },
    sourceMap: async () => undefined,
    names: async () => [],
    close: async () => {},
  };
  recent = new RecentSignatures(source, () => now);
});

describe('the signature of a plugin', () => {
  test('is asked for once by steps that start within a moment', async () => {
    expect(await Promise.all([recent.signature(PLUGIN), recent.signature(PLUGIN)])).toEqual(['first', 'first']);
    now += 249;
    expect(await recent.signature(PLUGIN)).toBe('first');
    expect(asked).toHaveLength(1);
  });

  test('is asked for again after that, so that one which was signed meanwhile counts', async () => {
    await recent.signature(PLUGIN);
    newest = 'second';
    now += 250;
    expect(await recent.signature(PLUGIN)).toBe('second');
  });

  test('is asked for again after a START has resolved a plugin', async () => {
    await recent.signature(PLUGIN);
    newest = 'second';
    await recent.resolve('core.hello', undefined, signal);
    expect(await recent.signature(PLUGIN)).toBe('second');
  });

  test('is not that of other bytes of the same version', async () => {
    const other = { ...PLUGIN, digest: `sha256:${'b'.repeat(64)}` };
    await Promise.all([recent.signature(PLUGIN), recent.signature(other)]);
    expect(asked).toEqual([PLUGIN.digest, other.digest]);
  });
});
