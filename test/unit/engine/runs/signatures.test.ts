import { describe, expect, it } from 'vitest';
import { echoing, RunBench } from '../../../support/run-bench.ts';

describe('the signature of a plugin', () => {
  it('goes with each attempt as it is known then, while the digest stays the one of the START', async () => {
    const bench = await RunBench.open();
    await bench.start({ flowId: 'f', runId: 'r' }, [
      { stepId: 'a', pluginId: 'test.echo', inputs: {} },
      { stepId: 'b', pluginId: 'test.echo', inputs: { text: 'a.text' } },
      { stepId: 'c', pluginId: 'test.echo', inputs: { text: 'b.text' } },
    ]);
    for (const [index, signed] of [undefined, 'signed', 'signed anew'].entries()) {
      await bench.host.started(index + 1);
      bench.plugins.signed = ['signed', 'signed anew'][index];
      const { request } = bench.host.attempts[index] ?? {};
      expect(request).toMatchObject({ digest: `sha256:${'0'.repeat(64)}` });
      expect(request?.signature).toBe(signed);
      bench.host.attempts[index]?.complete({ text: 'x' });
    }
    await bench.ended('r');
    expect(bench.story('r').at(-1)).toBe('COMPLETED');
  });

  it('is absent where there is none', async () => {
    const bench = await RunBench.open({ host: echoing() });
    await bench.start({ flowId: 'f', runId: 'r' }, [{ stepId: 'a', pluginId: 'test.echo', inputs: {} }]);
    await bench.ended('r');
    expect(bench.host.attempts.map(({ request }) => 'signature' in request)).toEqual([false]);
  });
});
