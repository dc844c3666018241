/** Publishing in transactions: what a broker refuses of a former owner, and what careful readers see. */
import { randomUUID } from 'node:crypto';
import { pause } from '@flowops/engine/base/pause.ts';
import { type GroupHearing, TRANSACTION_RETRY } from '@flowops/engine/publishing/home-producer.ts';
import { createKafkaClient } from '@flowops/engine/publishing/kafka-client.ts';
import { statusTarget } from '@flowops/engine/publishing/kafka-publisher.ts';
import { PublisherClosed } from '@flowops/engine/publishing/publisher.ts';
import { TopicPartitions } from '@flowops/engine/publishing/topic-partitions.ts';
import { TransactionalSender } from '@flowops/engine/publishing/transactional-sender.ts';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { KafkaWorld, RecordingSink, recordingLog, until } from './kafka-world.ts';

let world: KafkaWorld;
const opened: (() => Promise<void>)[] = [];
beforeEach(async () => {
  world = await KafkaWorld.open(inject('kafkaBrokers'), { partitions: 3 });
  await world.makeTopics();
});
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
  await world.close();
});

describe('publishing in transactions', () => {
  it('keeps the order of every run and shows each event once to careful readers', async () => {
    const { publisher } = (await world.engine(new RecordingSink(), 0, { publishFence: 'transaction' })).transport;
    const runs = Array.from({ length: 20 }, (_, i) => ({ flowId: 'flow', runId: `run-${i}`, home: String(i % 3) }));
    const sequences = Array.from({ length: 25 }, (_, i) => i + 1);
    const publish = (sequence: number) =>
      Promise.all(runs.map((run) => publisher.publish(run, [JSON.stringify({ sequence })], run.home)));
    for (const sequence of sequences) await publish(sequence);
    const records = await world.records(world.topics.status, runs.length * sequences.length);
    for (const { runId } of runs) {
      const ofRun = records.filter(({ key }) => String(key) === `flow:${runId}`);
      expect(ofRun.map(({ value }) => String(value))).toEqual(
        sequences.map((sequence) => JSON.stringify({ sequence })),
      );
    }
  });

  it('cuts the error of an event that no request can carry, and holds up nothing behind it', async () => {
    const { publisher } = (await world.engine(new RecordingSink(), 0, { publishFence: 'transaction' })).transport;
    const run = { flowId: 'flow', runId: 'run' };
    const huge = JSON.stringify({ sequence: 2, error: 'x'.repeat(2 * 1024 * 1024) });
    await Promise.all(['{"sequence":1}', huge, '{"sequence":3}'].map((text) => publisher.publish(run, [text], '0')));
    const records = await world.records(world.topics.status, 3);
    expect(records.map(({ value }) => JSON.parse(String(value)).sequence)).toEqual([1, 2, 3]);
  });

  it('has the broker refuse everything of a former owner, who does not fence the new one back', async () => {
    const former = await sender();
    const next = await sender();
    former.hold(['1']);
    await former.send('1', [record('former 1')]);
    next.hold(['1']);
    await next.send('1', [record('next 1')]);
    const late = former.send('1', [record('former 2')]).catch((thrown: unknown) => thrown);
    await next.send('1', [record('next 2')]);
    await until('the refusal', () => former.logged.some((line) => line.includes('does not take events')));
    await next.send('1', [record('next 3')]);
    former.release(new Set(['1']));
    expect(await late).toBeInstanceOf(PublisherClosed);
    await expect(former.send('1', [record('former 3')])).rejects.toThrow(PublisherClosed);
    await next.send('1', [record('next 4')]);
    expect(next.logged).toEqual([]);
    // Careless readers see the same: what was refused was never written.
    const records = await world.records(world.topics.status, 5);
    expect(records.map(({ value }) => String(value))).toEqual(['former 1', 'next 1', 'next 2', 'next 3', 'next 4']);
  });

  it('lets a former owner that is heard again take over what is its own again', async () => {
    const owner = await sender();
    const other = await sender();
    owner.hold(['1']);
    await owner.send('1', [record('owner 1')]);
    other.hold(['1']);
    await other.send('1', [record('other 1')]);
    const again = owner.send('1', [record('owner 2')]);
    await until('the refusal', () => owner.logged.some((line) => line.includes('does not take events')));
    await until('it to wait for the group', () => owner.hear());
    await again;
    expect(owner.logged.at(-1)).toContain('takes events again');
  });
});

function record(text: string) {
  return { key: Buffer.from('flow:run'), value: Buffer.from(text) };
}

/** A sender whose group answers when the test says so. */
async function sender() {
  const { log, logged } = recordingLog();
  const client = createKafkaClient({
    ...{ brokers: [world.brokers], clientId: `test-${randomUUID()}`, security: {}, log },
    retry: TRANSACTION_RETRY,
  });
  const partitions = await TopicPartitions.open({
    ...{ client, topics: [world.topics.status], lookEveryMs: 60_000, log, pause },
  });
  const waiting = new Set<() => void>();
  const standing: GroupHearing = {
    isGood: true,
    onChange: () => () => undefined,
    heardAnew: (signal) =>
      new Promise((resolve) => {
        waiting.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      }),
  };
  const transactional = new TransactionalSender({
    ...{
      client,
      idPrefix: world.groupId,
      target: statusTarget(world.topics.status, 'object'),
      partitions,
      standing,
      log,
    },
  });
  opened.push(async () => {
    partitions.close();
    await transactional.close();
  });
  return {
    logged,
    hold: (homes: readonly string[]) => transactional.hold(homes),
    send: (home: string, records: Parameters<typeof transactional.send>[1]) => transactional.send(home, records),
    release: (homes: ReadonlySet<string>) => transactional.release(homes),
    /** Whether somebody waited for it. */
    hear: () => {
      for (const resolve of waiting) resolve();
      return waiting.size > 0;
    },
  };
}
