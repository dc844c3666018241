/**
 * Engines of one group on a real broker while the group changes: partitions are added, members are killed, stopped and
 * woken. Those are processes of their own (test/fixtures/kafka/member.ts), which publish all the time in the name of what
 * they believe to hold.
 */
import { join } from 'node:path';
import type { PublishFence } from '@flowops/engine/publishing/kafka-publisher.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type KafkaService, startKafka } from '../services/kafka.ts';
import { ROOT } from '../support/clone.ts';
import { type LineProcess, startLineProcess } from '../support/line-process.ts';
import { KafkaWorld, RecordingSink, stop, until } from './kafka-world.ts';

const ALL = [0, 1, 2, 3];
const SHARED = { flowId: 'flow', runId: 'shared' };

let kafka: KafkaService;
let world: KafkaWorld;
const members: LineProcess[] = [];
beforeAll(async () => {
  kafka = await startKafka();
});
afterAll(() => kafka.stop());
beforeEach(async () => {
  world = await KafkaWorld.open(kafka.brokers, { partitions: 4 });
});
afterEach(async () => {
  await Promise.all(members.splice(0).map((member) => member.kill9()));
  await world.close();
});

describe('partitions that are added to the commands topic', () => {
  it('are read from their first command on, by whoever of two engines gets them', async () => {
    const partitionsSeenMs = 500;
    const first = await world.engine(new RecordingSink(), 0, { partitionsSeenMs });
    const second = await world.engine(new RecordingSink(), 0, { partitionsSeenMs });
    const held = () => [...first.consumer.partitions, ...second.consumer.partitions].sort((a, b) => a - b);
    await until('the spread', () => first.consumer.partitions.length === 2 && second.consumer.partitions.length === 2);
    await world.addPartitions(world.topics.commands, 7);
    await world.send(...[0, 1, 2, 3, 4, 5, 6].map((partition) => stop(`run-${partition}`, partition)));
    await until('all partitions', () => held().join() === '0,1,2,3,4,5,6');
    // A command may be given again when its partition moved before it could be committed.
    const taken = () => new Set([...first.sink.runIds, ...second.sink.runIds]);
    await until('their commands', () => taken().size === 7);
    await until('their commits', async () => (await world.committed()).join() === '1,1,1,1,1,1,1');
    const share = [first, second].map(({ consumer }) => consumer.partitions.length).sort();
    expect(share).toEqual([3, 4]);
  });
});

describe('partitions that are added to the status topic', () => {
  it('are used without losing an event or the order of a run on its partition', async () => {
    const { publisher } = (await world.engine(new RecordingSink(), 0, { partitionsSeenMs: 200 })).transport;
    const runs = Array.from({ length: 40 }, (_, i) => ({ flowId: 'flow', runId: `run-${i}` }));
    let sequence = 0;
    const publishAll = () => {
      sequence++;
      return Promise.all(runs.map((run) => publisher.publish(run, [JSON.stringify({ sequence })], '0')));
    };
    await publishAll();
    await world.addPartitions(world.topics.status, 9);
    await until('the use of a new one', async () => {
      await publishAll();
      return (await world.ends(world.topics.status)).slice(4).some((offset) => offset > 0);
    });
    await publishAll();
    const records = await world.records(world.topics.status, sequence * runs.length);
    for (const { runId } of runs) {
      const ofRun = records.filter(({ key }) => String(key) === `flow:${runId}`);
      const bySequence = ofRun.map(({ value, partition }) => ({ ...sequenceOf(value), partition }));
      expect(bySequence.map((one) => one.sequence).sort((a, b) => a - b)).toEqual(
        Array.from({ length: sequence }, (_, i) => i + 1),
      );
      for (const partition of new Set(bySequence.map((one) => one.partition))) {
        const onIt = bySequence.filter((one) => one.partition === partition).map((one) => one.sequence);
        expect(onIt).toEqual(onIt.toSorted((a, b) => a - b));
      }
    }
  });
});

describe('a member that is killed', () => {
  it('leaves its partitions to the others, who are given what it had not finished', async () => {
    const member = await startMember('killed');
    await world.send(stop('slow-1', 1), stop('quick-2', 2));
    await until('a command that is done', () => member.lines.some((line) => line.done === 'quick-2'));
    await until('its commit', async () => (await world.committed())[2] === 1);
    await member.kill9();
    const { sink, consumer } = await world.engine();
    await until('the take-over', () => consumer.partitions.length === 4);
    await until('the command', () => sink.runIds.includes('slow-1'));
    await until('its commit', async () => (await world.committed())[1] === 1);
    expect(sink.runIds).toEqual(['slow-1']);
  });
});

describe.each<PublishFence>(['heartbeat', 'transaction'])('a member that is stopped and woken (%s)', (publishFence) => {
  it('publishes nothing more for what it lost, commits nothing of it, and comes back to a share of its own', async () => {
    const member = await startMember('stopped', publishFence);
    const { records } = await world.follow(world.topics.status);
    const events = () => records.map(({ value }) => statusSchema.parse(JSON.parse(String(value))));
    await world.send(...ALL.map((partition) => stop(`slow-${partition}`, partition)));
    await until('its commands', () => member.lines.filter((line) => line.taken !== undefined).length === 4);
    await until('its events', () => events().length > 100);
    member.freeze();
    const sink = new RecordingSink();
    const survivor = await world.engine(sink, 0, { publishFence });
    await until('the take-over', () => survivor.consumer.partitions.length === 4);
    await until('the commands again', () => sink.taken.length === 4);
    await until('the commits', async () => (await world.committed()).join() === '1,1,1,1');
    await world.send(...ALL.map((partition) => stop(`later-${partition}`, partition)));
    await until('the later commits', async () => (await world.committed()).join() === '2,2,2,2');
    const { publisher } = survivor.transport;
    for (const home of ALL) {
      await publisher.publish(SHARED, [JSON.stringify({ by: 'survivor', home, sequence: 0 })], String(home));
    }
    await until('its events', () => events().filter(({ by }) => by === 'survivor').length === 4);
    const seen = member.lines.length;
    const before = events().length;
    member.thaw();
    member.write('go on');
    const since = () => member.lines.slice(seen);
    await until('the end of what it held', () => since().some((line) => line.revoked?.length === 4));
    await until('its new share', () => since().some((line) => line.assigned?.length === 2));
    const spoken = () => events().slice(before);
    await until('that it speaks again', () => spoken().length > 10);
    expect(since().filter((line) => line.done?.startsWith('slow'))).toHaveLength(4);
    const share = since().find((line) => line.assigned !== undefined)?.assigned ?? [];
    expect([...new Set(spoken().map(({ home }) => home))].sort()).toEqual(share.toSorted());
    // Its loop counts on: what it says now was not waiting when it was stopped.
    const lastBefore = Math.max(...member.lines.flatMap(({ told }) => told ?? []));
    expect(Math.min(...spoken().map(({ sequence }) => sequence))).toBeGreaterThanOrEqual(lastBefore);
    expect(await world.committed()).toEqual([2, 2, 2, 2]);
    // Before it is told what it lost. What it read before it was stopped may come first: timers wait for such callbacks.
    const firstOf = (isIt: (line: (typeof member.lines)[number]) => boolean) => since().findIndex(isIt);
    const lostStanding = firstOf(({ standing }) => standing === false);
    expect(lostStanding).toBeGreaterThanOrEqual(0);
    expect(lostStanding).toBeLessThan(firstOf(({ revoked }) => revoked !== undefined));
  });
});

describe('an engine that loses a partition while it works on one of its commands', () => {
  it('does not commit that command, whenever it finishes', async () => {
    const sink = new RecordingSink();
    const gate = Promise.withResolvers<void>();
    sink.behave = () => gate.promise;
    const first = await world.engine(sink);
    await world.send(...ALL.map((partition) => stop(`run-${partition}`, partition)));
    await until('all in flight', () => sink.taken.length === 4);
    const waiting = new RecordingSink();
    waiting.behave = () => new Promise(() => {});
    const second = await world.engine(waiting);
    await until('the move', () => first.consumer.partitions.length === 2 && second.consumer.partitions.length === 2);
    gate.resolve();
    const kept = first.consumer.partitions;
    const offsets = async () => (await world.committed()).map((offset, partition) => [partition, offset] as const);
    await until('the commits of what was kept', async () =>
      (await offsets()).every(([partition, offset]) => !kept.includes(partition) || offset === 1),
    );
    await world.send(...kept.map((partition) => stop(`next-${partition}`, partition)));
    await until('the next commits', async () =>
      (await offsets()).every(([partition, offset]) => !kept.includes(partition) || offset === 2),
    );
    expect((await offsets()).filter(([partition]) => !kept.includes(partition)).map(([, offset]) => offset)).toEqual([
      -1, -1,
    ]);
  });
});

const lineSchema = z.object({
  taken: z.string().optional(),
  done: z.string().optional(),
  assigned: z.array(z.number()).optional(),
  revoked: z.array(z.number()).optional(),
  standing: z.boolean().optional(),
  /** The last sequence of its events when its partitions were assigned. */
  told: z.number().optional(),
});
type Line = z.output<typeof lineSchema>;
const statusSchema = z.object({ by: z.string(), home: z.number(), sequence: z.number() });
const sequenceSchema = z.object({ sequence: z.number() });

interface Member extends LineProcess {
  readonly lines: readonly Line[];
}

async function startMember(name: string, publishFence: PublishFence = 'heartbeat'): Promise<Member> {
  const { brokers, groupId, topics } = world;
  await world.makeTopics();
  const lines: Line[] = [];
  const started = startLineProcess(
    [
      process.execPath,
      join(ROOT, 'test/fixtures/kafka/member.ts'),
      JSON.stringify({ name, brokers, groupId, topics, publishFence }),
    ],
    (line) => lines.push(lineSchema.parse(JSON.parse(line))),
  );
  members.push(started);
  await until('its partitions', () => lines.some(({ assigned }) => assigned?.length === 4));
  return { ...started, lines };
}

function sequenceOf(value: Buffer | null): z.output<typeof sequenceSchema> {
  return sequenceSchema.parse(JSON.parse(String(value)));
}
