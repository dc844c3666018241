/** An outcome that no run stores is sent in the name of the partition its command was read from. */
import type { CommandOutcomeEvent } from '@flowops/proto/statuses.ts';
import { expect, it, vi } from 'vitest';
import { RunBench } from '../../../support/run-bench.ts';

it('is given up with its partition, whose next owner reads the command again and may have another answer', async () => {
  const bench = await RunBench.open();
  const told: [CommandOutcomeEvent['code'], string | undefined][] = [];
  vi.spyOn(bench.publisher, 'publishOutcome').mockImplementation(async (event, home?: string) => {
    told.push([event.code, home]);
  });
  await bench.send({ eventType: 'STOP', flowId: 'f', runId: 'nobody' }, '7');
  expect(told).toEqual([['RUN_UNKNOWN', bench.partition]]);
  bench.kill();
});
