import { LocalPublisher } from '@flowops/engine/publishing/local-publisher.ts';
import { PublisherClosed } from '@flowops/engine/publishing/publisher.ts';
import type { CommandOutcomeEvent } from '@flowops/proto/statuses.ts';
import { describe, expect, it } from 'vitest';

const RUN = { flowId: 'f', runId: 'r' };
const OUTCOME: CommandOutcomeEvent = {
  ...{ eventType: 'COMMAND_OUTCOME', command: 'START', outcome: 'ACCEPTED', code: null, message: null },
  ...{ ...RUN, triggeredBy: null, via: 'cli', reason: null, timestamp: '2025-10-03T12:00:00Z' },
};

describe('LocalPublisher', () => {
  it('hands events and outcomes to every subscriber in the order they were published', async () => {
    const { publisher } = harness();
    const seen: unknown[] = [];
    publisher.subscribe({ onEvents: (run, events) => seen.push([run.runId, ...events]) });
    publisher.subscribe({ onOutcome: ({ outcome }) => seen.push(outcome) });
    await publisher.publish(RUN, ['1', '2']);
    await publisher.publishOutcome(OUTCOME);
    await publisher.publish(RUN, ['3']);
    expect(seen).toEqual([['r', '1', '2'], 'ACCEPTED', ['r', '3']]);
  });

  it('hands nothing to who has ended the subscription', async () => {
    const { publisher } = harness();
    const seen: string[] = [];
    const end = publisher.subscribe({ onEvents: (_run, events) => seen.push(...events) });
    await publisher.publish(RUN, ['1']);
    end();
    await publisher.publish(RUN, ['2']);
    expect(seen).toEqual(['1']);
  });

  it('keeps the failure of one subscriber from the others and from the engine', async () => {
    const { publisher, errors } = harness();
    const seen: string[] = [];
    publisher.subscribe({
      onEvents: () => {
        throw new Error('mine');
      },
    });
    publisher.subscribe({ onEvents: (_run, events) => seen.push(...events) });
    await publisher.publish(RUN, ['1']);
    expect(seen).toEqual(['1']);
    expect(errors).toEqual([{ error: 'mine' }]);
  });

  it('refuses to publish once it is closed', async () => {
    const { publisher } = harness();
    await publisher.close();
    await publisher.close();
    await expect(publisher.publish(RUN, ['1'])).rejects.toThrow(PublisherClosed);
  });
});

function harness() {
  const errors: object[] = [];
  const silent = () => {};
  const log = { debug: silent, info: silent, warn: silent, error: (fields: object) => errors.push(fields) };
  return { publisher: new LocalPublisher(log), errors };
}
