/** Which host a step goes to is asked once for each step: a host that is chosen counts what it was promised. */
import { expect, it } from 'vitest';
import { RunBench } from '../../../support/run-bench.ts';

const step = (stepId: string) => ({ stepId, pluginId: 'test.echo', inputs: {} });

it('a host is chosen once for each step that starts, and not to see whether there is room', async () => {
  const bench = await RunBench.open();
  await bench.start({ flowId: 'f', runId: 'r' }, [step('a'), step('b'), step('c')]);
  await bench.host.started(3);
  expect(bench.sandboxes.picks).toBe(3);
  bench.kill();
});
