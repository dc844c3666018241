/** Commands that are read on another partition than that of their run's home, on a real Kafka. */
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { KafkaWorld, RecordingSink, stop, until } from './kafka-world.ts';

const PARTITIONS = 3;
const outcomeSchema = z.object({
  command: z.string(),
  runId: z.string(),
  outcome: z.string(),
  code: z.string(),
  message: z.string(),
});

let world: KafkaWorld;
beforeEach(async () => {
  world = await KafkaWorld.open(inject('kafkaBrokers'), { partitions: PARTITIONS });
});
afterEach(() => world.close());

describe('a command of a run that is at home elsewhere', () => {
  it('comes to its home as it was, with its time and where it was read first, and only then is done with', async () => {
    const sink = new RecordingSink();
    sink.homes.set('run', '0');
    await world.engine(sink);
    const timestamp = '1759492805123';
    await world.send({ ...stop('run', 2), headers: { trace: 'x' }, timestamp });
    await until('the command at home', () => sink.taken.length === 2);
    await until('both commits', async () => (await world.committed()).join() === '1,-1,1');
    expect(sink.taken.map(({ origin }) => origin)).toEqual([
      { partition: 2, offset: '0', recordTimeMs: Number(timestamp) },
      { partition: 0, offset: '0', recordTimeMs: Number(timestamp), first: { partition: 2, offset: '0' } },
    ]);
    const [first, second] = await world.records(world.topics.commands, 2);
    const atHome = first?.partition === 0 ? first : second;
    const asSent = first?.partition === 0 ? second : first;
    const headers = { trace: 'x', 'flowops-hops': '1', 'flowops-origin': '2:0' };
    expect(atHome).toEqual({ ...asSent, partition: 0, headers });
  });

  it('comes to the engine that holds the home, in the order in which the commands were read', async () => {
    const [one, other] = [new RecordingSink(), new RecordingSink()];
    for (const sink of [one, other]) sink.homes.set('run', '0');
    const engines = [await world.engine(one), await world.engine(other)];
    const held = () => engines.map(({ consumer }) => consumer.partitions.length).sort();
    await until('the spread', () => held().join() === '1,2');
    await world.send(...Array.from({ length: 50 }, (_, i) => ({ ...stop('run', 2), headers: { index: String(i) } })));
    const atHome = () => [...one.taken, ...other.taken].filter(({ origin }) => origin.partition === 0);
    await until('all at home', () => atHome().length === 50);
    const offsets = atHome().map(({ origin }) => Number(origin.first?.offset));
    expect(offsets).toEqual(Array.from({ length: 50 }, (_, i) => i));
    const takers = [one, other].filter((sink) => sink.taken.some(({ origin }) => origin.partition === 0));
    expect(takers).toHaveLength(1);
  });

  it('comes to a home that was added to the topic after the engine had started', async () => {
    const sink = new RecordingSink();
    const { consumer } = await world.engine(sink, 0, { partitionsSeenMs: 1000 });
    await world.addPartitions(world.topics.commands, PARTITIONS + 1);
    sink.homes.set('run', String(PARTITIONS));
    await world.send(stop('run', 1));
    await until('the command at home', () => sink.taken.some(({ origin }) => origin.partition === PARTITIONS));
    expect(consumer.partitions).toContain(PARTITIONS);
  });

  it('is refused after three hops, once, and its offsets are committed', async () => {
    const sink = new RecordingSink();
    // Whoever looks finds it somewhere else.
    sink.take = async (command, origin) => {
      sink.taken.push({ runId: command.runId, command, origin });
      return { home: String((origin.partition + 1) % PARTITIONS) };
    };
    await world.engine(sink);
    await world.send(stop('restless', 0));
    const [record] = await world.records(world.topics.outcomes, 1);
    expect(outcomeSchema.parse(JSON.parse(String(record?.value)))).toEqual({
      ...{ command: 'STOP', runId: 'restless', outcome: 'REJECTED', code: 'COMMAND_INVALID' },
      message: expect.stringContaining('sent on 3 times'),
    });
    expect(sink.taken.map(({ origin }) => origin.partition)).toEqual([0, 1, 2, 0]);
    await until('all commits', async () => (await world.committed()).join() === '2,1,1');
  });

  it.each([['run-7'], ['99']])('is refused when its home %s is no partition of the topic', async (home) => {
    const sink = new RecordingSink();
    sink.homes.set('embedded', home);
    await world.engine(sink);
    await world.send(stop('embedded', 1));
    const [record] = await world.records(world.topics.outcomes, 1);
    const { outcome, message } = outcomeSchema.parse(JSON.parse(String(record?.value)));
    expect({ outcome, message }).toEqual({
      outcome: 'REJECTED',
      message: `the home of the run is ${home}, which is no partition of ${world.topics.commands}`,
    });
    await until('its commit', async () => (await world.committed())[1] === 1);
  });
});
