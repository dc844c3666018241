/** Status events and outcomes on a real Kafka, as others read them. */

import { PublisherClosed } from '@flowops/engine/publishing/publisher.ts';
import type { CommandOutcomeEvent } from '@flowops/proto/statuses.ts';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { kafkaConsole } from '../services/kafka.ts';
import { KafkaWorld, RecordingSink } from './kafka-world.ts';

const RUN = { flowId: 'flow', runId: 'run-1' };

let world: KafkaWorld;
beforeEach(async () => {
  world = await KafkaWorld.open(inject('kafkaBrokers'), { partitions: 4 });
});
afterEach(() => world.close());

describe('publishing to Kafka', () => {
  it("shows events to Kafka's own console consumer exactly as they were committed, in order, under flowId:runId", async () => {
    const { publisher } = (await world.engine()).transport;
    const events = [event(1, { stepId: 'ü' }), event(2), event(3)];
    await publisher.publish(RUN, events.slice(0, 2));
    await publisher.publish(RUN, events.slice(2));
    const { consoleConsume } = await kafkaConsole(world.brokers);
    const read = await consoleConsume(world.topics.status, { count: 3 });
    expect(read.map(({ value }) => value)).toEqual(events);
    expect(new Set(read.map(({ key }) => key))).toEqual(new Set(['flow:run-1']));
    expect(new Set(read.map(({ partition }) => partition)).size).toBe(1);
  });

  it("puts a run on the partition that Kafka's own producer chooses for its key", async () => {
    const { publisher } = (await world.engine()).transport;
    const { consoleProduce } = await kafkaConsole(world.brokers);
    for (const runId of ['run-1', 'a-very-different-run', 'ä']) {
      await publisher.publish({ flowId: 'flow', runId }, [event(1)]);
      await consoleProduce(world.topics.status, `flow:${runId}`, event(2));
    }
    const records = await world.records(world.topics.status, 6);
    const places = new Set(records.map(({ key, partition }) => `${key} ${partition}`));
    expect(places.size).toBe(3);
  });

  it('encodes the JSON once more for readers of the former bytes, when told to', async () => {
    const { publisher } = (await world.engine(new RecordingSink(), 0, { statusEncoding: 'string' })).transport;
    await publisher.publish(RUN, [event(1)]);
    const [record] = await world.records(world.topics.status, 1);
    expect(record?.value?.toString()).toBe(JSON.stringify(event(1)));
  });

  it('keeps the order of every run when thousands of events are published at once', async () => {
    const { publisher } = (await world.engine()).transport;
    const runs = Array.from({ length: 50 }, (_, i) => ({ flowId: 'flow', runId: `run-${i}` }));
    const sequences = Array.from({ length: 100 }, (_, i) => i + 1);
    await Promise.all(
      sequences.flatMap((sequence) =>
        runs.map((run) => publisher.publish(run, [event(sequence, { runId: run.runId })])),
      ),
    );
    const records = await world.records(world.topics.status, runs.length * sequences.length);
    for (const { runId } of runs) {
      const ofRun = records.filter(({ key }) => key?.toString() === `flow:${runId}`);
      expect(ofRun.map(({ value }) => JSON.parse(String(value)).sequence)).toEqual(sequences);
    }
  });

  it('cuts the error of an event that no request can carry, and holds up nothing behind it', async () => {
    const { transport, logged } = await world.engine();
    const { publisher } = transport;
    const huge = event(2, { error: 'x'.repeat(2 * 1024 * 1024) });
    await Promise.all([event(1), huge, event(3)].map((text) => publisher.publish(RUN, [text])));
    const records = await world.records(world.topics.status, 3);
    const read = records.map(({ value }) => JSON.parse(String(value)));
    expect(read.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    expect(read[1].error).toMatch(/^x{2000} … \(cut: 2097152 characters/);
    expect(logged.filter((line) => !line.startsWith('info'))).toEqual([]);
  });

  it('publishes outcomes as JSON objects under flowId:runId', async () => {
    const { publisher } = (await world.engine()).transport;
    const outcome: CommandOutcomeEvent = {
      ...{ eventType: 'COMMAND_OUTCOME', command: 'START', ...RUN, outcome: 'ACCEPTED', code: null, message: null },
      ...{ triggeredBy: 'ops', via: 'kafka', reason: null, timestamp: '2025-10-03T12:00:00Z' },
    };
    await publisher.publishOutcome(outcome);
    const [record] = await world.records(world.topics.outcomes, 1);
    expect(record?.key?.toString()).toBe('flow:run-1');
    expect(JSON.parse(String(record?.value))).toEqual(outcome);
  });

  it('refuses to publish once it is closed', async () => {
    const { publisher } = (await world.engine()).transport;
    await publisher.close();
    await publisher.close();
    await expect(publisher.publish(RUN, [event(1)])).rejects.toThrow(PublisherClosed);
  });
});

function event(sequence: number, more: object = {}): string {
  return JSON.stringify({ eventType: 'STEP_STATUS', ...RUN, stepId: 's', status: 'RUNNING', sequence, ...more });
}
