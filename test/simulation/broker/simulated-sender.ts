/**
 * What RecordSender is to Kafka, to the simulated broker: one real SendLane per partition, each request a call over the
 * engine's wire.
 */

import type { Standing } from '@flowops/engine/base/standing.ts';
import { PublisherClosed } from '@flowops/engine/publishing/publisher.ts';
import { type OutgoingRecord, SendLane, type SendResult } from '@flowops/engine/publishing/send-lane.ts';
import type { Sender, SendTerms, TopicTarget } from '@flowops/engine/publishing/sender.ts';
import type { SimProcess } from '../world/process.ts';
import type { Wire } from '../world/wire.ts';
import { type Broker, partitionOf } from './broker.ts';

export interface SimulatedSenderOptions {
  readonly process: SimProcess;
  readonly wire: Wire;
  readonly broker: Broker;
  readonly standing: Standing;
}

export class SimulatedSender implements Sender {
  readonly #options: SimulatedSenderOptions;
  readonly #lanes = new Map<string, SendLane>();
  #isClosed = false;

  constructor(options: SimulatedSenderOptions) {
    this.#options = options;
  }

  hasPartition(topic: string, partition: number): Promise<boolean> {
    const { wire, broker } = this.#options;
    return wire.call('partitions', () => partition < broker.partitionCount(topic));
  }

  async send(target: TopicTarget, records: readonly OutgoingRecord[], terms: SendTerms = {}): Promise<SendResult> {
    const [first] = records;
    if (first === undefined) return 'sent';
    if (this.#isClosed) throw new PublisherClosed();
    const count = this.#options.broker.partitionCount(target.topic);
    const partition = terms.partition ?? partitionOf(first.key?.toString() ?? '', count);
    return await this.#lane(target, partition).add(records, terms.home);
  }

  release(homes: ReadonlySet<string>): void {
    for (const lane of this.#lanes.values()) lane.drop(homes);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const lane of this.#lanes.values()) lane.close();
  }

  #lane(target: TopicTarget, partition: number): SendLane {
    const { process, wire, broker, standing } = this.#options;
    const name = `${target.topic}/${partition}`;
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    const lane = new SendLane({
      send: (records) =>
        wire.call(`produce ${records.length} to ${name}`, () =>
          broker.append(target.topic, partition, records, process.name),
        ),
      judge: () => 'try-again',
      shrink: target.shrink,
      onFailure: () => undefined,
      onSuccess: () => undefined,
      onGivenUp: () => undefined,
      closed: () => new PublisherClosed(),
      standing,
      pause: (ms, signal) => process.pause(ms, signal),
    });
    this.#lanes.set(name, lane);
    return lane;
  }
}
