/** Commands from a real Kafka to the sink, and their offsets back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openKafkaTransport } from '@flowops/engine/commands/kafka-transport.ts';
import { KafkaUnavailable } from '@flowops/engine/publishing/kafka-client.ts';
import { Kafka, logLevel } from 'kafkajs';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { kafkaConsole } from '../services/kafka.ts';
import { freePort } from '../services/ports.ts';
import { KafkaWorld, RecordingSink, recordingLog, stop, until, type WorldOptions } from './kafka-world.ts';

let world: KafkaWorld;
const openWorld = async (options?: WorldOptions) => {
  world = await KafkaWorld.open(inject('kafkaBrokers'), options);
};
afterEach(() => world.close());

describe('commands from Kafka', () => {
  it("takes a command of Kafka's own console producer and commits it", async () => {
    await openWorld({ partitions: 1 });
    const { sink } = await world.engine();
    const { consoleProduce } = await kafkaConsole(world.brokers);
    await consoleProduce(world.topics.commands, 'run-1', '{"eventType":"PAUSE","flowId":"flow","runId":"run-1"}');
    await until('the command', () => sink.taken.length === 1);
    expect(sink.taken[0]).toMatchObject({
      command: { kind: 'PAUSE', flowId: 'flow', runId: 'run-1' },
      origin: { partition: 0, offset: '0', recordTimeMs: expect.closeTo(Date.now(), -5) },
    });
    await until('the commit', async () => (await world.committed())[0] === 1);
  });

  it.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)(
    'takes a command that was compressed with %s',
    async (compression) => {
      await openWorld({ partitions: 1 });
      const { sink } = await world.engine();
      const { consoleProduce } = await kafkaConsole(world.brokers);
      const steps = Array.from({ length: 2000 }, (_, i) => ({
        stepId: `step-${i}`,
        pluginId: 'core.echo',
        inputs: { i },
      }));
      const start = { eventType: 'START', flowId: 'flow', runId: 'run-1', steps };
      await consoleProduce(world.topics.commands, 'run-1', JSON.stringify(start), compression);
      await until('the command', () => sink.taken.length === 1);
      expect(sink.taken[0]?.command).toMatchObject({ kind: 'START', steps });
    },
  );

  it('begins with commands that were sent before any engine was there', async () => {
    await openWorld();
    await (await world.engine()).close();
    await world.send('early');
    const { sink } = await world.engine();
    await until('the command', () => sink.runIds.includes('early'));
  });

  it('commits no further than the first command that is not durable, and the rest with it', async () => {
    await openWorld({ partitions: 1 });
    const sink = new RecordingSink();
    const slow = Promise.withResolvers<void>();
    sink.behave = (runId) => (runId === 'slow' ? slow.promise : Promise.resolve());
    await world.engine(sink);
    await world.send('a', 'slow', 'b', 'c');
    await until('the commit before the slow one', async () => (await world.committed())[0] === 1);
    expect(sink.runIds).toEqual(['a', 'slow', 'b', 'c']);
    slow.resolve();
    await until('the commit of the rest', async () => (await world.committed())[0] === 4);
  });

  it('commits a command only when the store has it on disk, also when it closes before', async () => {
    await openWorld({ partitions: 1 });
    const delayMs = 1500;
    const { sink, consumer } = await world.engine(new RecordingSink(), delayMs);
    await world.send('a');
    await until('the command', () => sink.taken.length === 1);
    const takenAtMs = performance.now();
    const closed = consumer.close();
    while (performance.now() - takenAtMs < delayMs / 2) {
      expect(await world.committed()).toEqual([-1]);
      await sleep(100);
    }
    await closed;
    expect(performance.now() - takenAtMs).toBeGreaterThanOrEqual(delayMs - 20);
    expect(await world.committed()).toEqual([1]);
  });

  it('gives a command that was not finished to the next engine again', async () => {
    await openWorld({ partitions: 1 });
    const sink = new RecordingSink();
    sink.behave = () => new Promise(() => {});
    const first = await world.engine(sink);
    await world.send('a');
    await until('the command', () => sink.taken.length === 1);
    await first.consumer.close(AbortSignal.timeout(100));
    const second = await world.engine();
    await until('the command again', () => second.sink.runIds.includes('a'));
    expect(sink.told).toEqual(['assigned 0', 'revoked 0']);
  });

  it('offers a command again while the store is away, keeps the order, and reads on afterwards', async () => {
    await openWorld({ partitions: 1 });
    const sink = new RecordingSink();
    let failures = 3;
    sink.behave = async (runId) => {
      if (runId === 'a' && failures-- > 0) throw new Error('the store is away');
    };
    const { logged } = await world.engine(sink);
    await world.send('a');
    await until('the first failure', () => sink.taken.length > 0);
    await world.send('b');
    await until('both', () => sink.runIds.includes('b'));
    expect(sink.runIds).toEqual(['a', 'a', 'a', 'a', 'b']);
    expect(logged.filter((line) => line.includes('could not be taken'))).toHaveLength(1);
    await until('the commit', async () => (await world.committed())[0] === 2);
  });

  it('keeps what is no command as a dead letter, bytes and headers unchanged, and reads on', async () => {
    await openWorld({ partitions: 1 });
    const { sink } = await world.engine();
    const junk = Buffer.from([0, 0xff, 0xfe, 1]);
    await world.send(
      { key: Buffer.from([0xff]), value: junk, headers: { trace: 'abc' } },
      { key: 'k', value: null },
      { key: 'k', value: '{"eventType":"DANCE","flowId":"flow","runId":"run-9"}' },
      'good',
    );
    await until('the good one', () => sink.runIds.includes('good'));
    const letters = await world.records(world.topics.deadLetters, 3);
    const origin = { 'flowops-topic': world.topics.commands, 'flowops-partition': '0' };
    expect(letters).toContainEqual({
      partition: expect.any(Number),
      timestamp: expect.any(String),
      key: Buffer.from([0xff]),
      value: junk,
      headers: { trace: 'abc', ...origin, 'flowops-offset': '0', 'flowops-reason': 'the value is not UTF-8 text' },
    });
    expect(letters.map(({ value }) => value)).toContain(null);
    const [outcome] = await world.records(world.topics.outcomes, 1);
    expect(outcome?.key?.toString()).toBe('flow:run-9');
    expect(JSON.parse(String(outcome?.value))).toMatchObject({ outcome: 'REJECTED', code: 'COMMAND_INVALID' });
    await until('the commit', async () => (await world.committed())[0] === 4);
  });

  it('reads a command of 5 MB on a topic that allows it, keeps it as a dead letter, and reads on', async () => {
    await openWorld({ partitions: 1, maxMessageBytes: 6 * 1024 * 1024 });
    const { sink } = await world.engine();
    const value = Buffer.alloc(5 * 1024 * 1024, 'x');
    await world.send({ key: 'large', value });
    await world.send('good');
    await until('the good one', () => sink.runIds.includes('good'));
    const [letter] = await world.records(world.topics.deadLetters, 1);
    expect(letter?.value?.equals(value)).toBe(true);
    expect(letter?.headers['flowops-reason']).toContain('1048576 bytes');
  });

  it('loses and doubles nothing when thousands of commands wait', async () => {
    await openWorld({ partitions: 2 });
    const { sink } = await world.engine();
    const runIds = Array.from({ length: 20_000 }, (_, i) => `run-${i}`);
    for (let i = 0; i < runIds.length; i += 2000) await world.send(...runIds.slice(i, i + 2000));
    await until('all', () => sink.taken.length >= runIds.length);
    expect(new Set(sink.runIds).size).toBe(runIds.length);
    expect(sink.taken).toHaveLength(runIds.length);
    await until('the commits', async () => (await world.committed()).reduce((a, b) => a + b) === runIds.length);
  });
});

describe('a group of engines', () => {
  it('moves half of the partitions to a second engine, and all back when it goes, without doubling a command', async () => {
    await openWorld({ partitions: 4 });
    const first = await world.engine();
    await world.send(...[0, 1, 2, 3].map((partition) => stop(`before-${partition}`, partition)));
    await until('the commits', async () => (await world.committed()).every((offset) => offset === 1));
    const second = await world.engine();
    await until('the move', () => first.consumer.partitions.length === 2 && second.consumer.partitions.length === 2);
    await world.send(...[0, 1, 2, 3].map((partition) => stop(`shared-${partition}`, partition)));
    await until('all', () => first.sink.taken.length + second.sink.taken.length === 8);
    expect(second.sink.taken).toHaveLength(2);
    await second.close();
    await until('the way back', () => first.consumer.partitions.length === 4);
    expect(first.sink.told).toHaveLength(3);
    expect(first.sink.told[0]).toBe('assigned 0,1,2,3');
    expect(first.sink.told[1]?.replace('revoked', 'assigned')).toBe(first.sink.told[2]);
    await world.send(...[0, 1, 2, 3].map((partition) => stop(`after-${partition}`, partition)));
    await until('the rest', () => first.sink.runIds.filter((runId) => runId.startsWith('after')).length === 4);
    const all = [...first.sink.runIds, ...second.sink.runIds];
    expect(new Set(all).size).toBe(all.length);
  });

  it('hands on once what it had in flight while the group came together again', async () => {
    await openWorld({ partitions: 2 });
    const sink = new RecordingSink();
    const gate = Promise.withResolvers<void>();
    sink.behave = () => gate.promise;
    const first = await world.engine(sink);
    await world.send(stop('p0', 0), stop('p1', 1));
    await until('both in flight', () => sink.taken.length === 2);
    const second = await world.engine();
    await until('the move', () => first.consumer.partitions.length === 1 && second.consumer.partitions.length === 1);
    const [kept] = first.consumer.partitions;
    await until('the command of the moved one', () => second.sink.taken.length === 1);
    gate.resolve();
    await until('the commits', async () => (await world.committed()).every((offset) => offset === 1));
    expect(sink.runIds.filter((runId) => runId === `p${kept}`)).toHaveLength(1);
    expect(second.sink.runIds).toEqual([`p${1 - (kept ?? 0)}`]);
  });

  it('ends with a clear sentence when another kind of consumer is in the group', async () => {
    await openWorld();
    await (await world.engine()).close();
    const foreign = new Kafka({ brokers: [world.brokers], logLevel: logLevel.NOTHING }).consumer({
      groupId: world.groupId,
    });
    await foreign.connect();
    await foreign.subscribe({ topics: [world.topics.commands] });
    const joined = new Promise<void>((resolve) => foreign.on(foreign.events.GROUP_JOIN, () => resolve()));
    await foreign.run({ eachMessage: async () => {} });
    await joined;
    const { consumer } = await world.engine();
    const failure = await consumer.failed;
    expect(failure).toBeInstanceOf(KafkaUnavailable);
    expect(failure.message).toContain(`The group ${world.groupId} has members of another kind`);
    await foreign.disconnect();
  });
});

describe('opening', () => {
  it('makes the topics that are missing, once, and says so', async () => {
    await openWorld({ partitions: 3 });
    const first = recordingLog();
    await world.transport(first.log);
    const second = recordingLog();
    await world.transport(second.log);
    expect(first.logged.filter((line) => line.includes('was created'))).toHaveLength(4);
    expect(second.logged).toEqual([]);
    const { topics } = await world.admin.fetchTopicMetadata({ topics: Object.values(world.topics) });
    expect(topics.map(({ partitions }) => partitions.length)).toEqual([3, 3, 3, 3]);
  });

  it('says within about 10 s that no broker can be reached, and names KAFKA_BROKERS', async () => {
    await openWorld();
    const address = `127.0.0.1:${await freePort()}`;
    const { groupId, topics } = world;
    const opening = openKafkaTransport({
      ...{ brokers: [address], security: {}, clientId: 'flowops-test', groupId, topics, statusEncoding: 'object' },
      log: recordingLog().log,
    });
    await expect(opening).rejects.toThrow(`KAFKA_BROKERS=${address} could be reached`);
    await expect(opening).rejects.toBeInstanceOf(KafkaUnavailable);
  });
});
