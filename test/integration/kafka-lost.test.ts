/** What happens to commands and events while Kafka is away, frozen, or comes back: on a broker of this file's own. */

import { PublisherClosed } from '@flowops/engine/publishing/publisher.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type KafkaService, startKafka } from '../services/kafka.ts';
import { KafkaWorld, until } from './kafka-world.ts';

const RUN = { flowId: 'flow', runId: 'run-1' };

let kafka: KafkaService;
let world: KafkaWorld;
beforeAll(async () => {
  kafka = await startKafka();
});
afterAll(() => kafka.stop());
beforeEach(async () => {
  world = await KafkaWorld.open(kafka.brokers, { partitions: 2 });
});
afterEach(() => world.close());

describe('while Kafka is away', { timeout: 120_000 }, () => {
  it('keeps events and their order, reads commands again when it is back, and says both once', async () => {
    const { transport, sink, logged } = await world.engine();
    const { publisher } = transport;
    await world.send('before');
    await until('a command', () => sink.runIds.includes('before'));
    await until('its commit', async () => (await world.committed()).includes(1));
    await publisher.publish(RUN, ['1']);
    await kafka.kill9();
    const waiting = Promise.all(['2', '3', '4'].map((text) => publisher.publish(RUN, [text])));
    await until('both losses', () => logged.filter((line) => line.startsWith('warn')).length >= 2);
    await until('that it holds still', () => logged.some((line) => line.includes('the group has not answered')));
    expect(transport.standing.isGood).toBe(false);
    await kafka.restart();
    await waiting;
    await until('the group again', () => logged.some((line) => line.includes('commands are read again')));
    await world.producer.connect();
    await world.send('after');
    await until('a command', () => sink.runIds.includes('after'));
    const records = await world.records(world.topics.status, 4);
    expect([...new Set(records.map(({ value }) => String(value)))]).toEqual(['1', '2', '3', '4']);
    expect(transport.standing.isGood).toBe(true);
    expect(logged.filter((line) => line.startsWith('warn'))).toHaveLength(3);
    expect(logged.filter((line) => line.includes('takes events again'))).toHaveLength(1);
  });

  it('gives up waiting events when it is closed: they are in the outbox', async () => {
    const { publisher } = (await world.engine()).transport;
    await publisher.publish(RUN, ['1']);
    await kafka.kill9();
    const waiting = expect(publisher.publish(RUN, ['2'])).rejects.toThrow(PublisherClosed);
    await publisher.close();
    await waiting;
    await kafka.restart();
  });
});

describe('while Kafka hangs', { timeout: 120_000 }, () => {
  it('repeats a request that got no answer on another connection, and loses no event', async () => {
    const { transport, sink, logged } = await world.engine();
    await transport.publisher.publish(RUN, ['1']);
    kafka.freeze();
    const waiting = transport.publisher.publish(RUN, ['2', '3']);
    await until('the loss', () => logged.some((line) => line.includes('does not take events')));
    kafka.thaw();
    await waiting;
    const values = (await world.records(world.topics.status, 3)).map(({ value }) => String(value));
    expect([...new Set(values)]).toEqual(['1', '2', '3']);
    await world.send('after');
    await until('a command', () => sink.runIds.includes('after'));
  });

  it('does not keep an engine that wants to end', async () => {
    const { consumer, transport, sink } = await world.engine();
    kafka.freeze();
    await consumer.close(AbortSignal.timeout(500));
    await transport.close();
    expect(sink.told.at(-1)).toBe('revoked 0,1');
    kafka.thaw();
  });
});
