/**
 * The simulated broker: topics of partitions, each a log that only grows. What an acknowledged producer wrote is there
 * for good; order holds within a partition and nowhere else.
 */
import type { OutgoingRecord } from '@flowops/engine/publishing/send-lane.ts';
import { EPOCH_MS, type World } from '../world/world.ts';

export const COMMANDS = 'execution.commands';
export const STATUS = 'execution.status';
export const OUTCOMES = 'execution.outcomes';
export const DEAD_LETTERS = 'execution.commands.dlq';

export interface LoggedRecord extends OutgoingRecord {
  readonly offset: number;
  /** Epoch ms. */
  readonly timestampMs: number;
}

export interface Appended {
  readonly topic: string;
  readonly partition: number;
  readonly record: LoggedRecord;
  /** Name of the process that sent it. */
  readonly by: string;
}

/** An idle fetch is answered after this long. */
const FETCH_WAIT_MS = 5_000;
const FETCH_RECORDS = 50;

interface Waiting {
  readonly from: number;
  readonly reply: (records: readonly LoggedRecord[]) => void;
}

export class Broker {
  readonly #world: World;
  readonly #topics = new Map<string, LoggedRecord[][]>();
  readonly #waiting = new Map<string, Set<Waiting>>();
  /** Sees every record as it is appended. */
  readonly #onAppend: (appended: Appended) => void;
  isUp = true;

  constructor(world: World, partitions: Readonly<Record<string, number>>, onAppend: (appended: Appended) => void) {
    this.#world = world;
    this.#onAppend = onAppend;
    for (const [topic, count] of Object.entries(partitions))
      this.#topics.set(
        topic,
        Array.from({ length: count }, () => []),
      );
  }

  partitionCount(topic: string): number {
    return this.#logs(topic).length;
  }

  addPartition(topic: string): void {
    this.#logs(topic).push([]);
  }

  records(topic: string): readonly (readonly LoggedRecord[])[] {
    return this.#logs(topic);
  }

  endOffset(topic: string, partition: number): number {
    return this.#log(topic, partition).length;
  }

  append(topic: string, partition: number, records: readonly OutgoingRecord[], by: string): void {
    const log = this.#log(topic, partition);
    for (const { key, value, headers } of records) {
      const timestampMs = Math.floor(EPOCH_MS + this.#world.nowMs);
      const record = { key, value, ...(headers === undefined ? {} : { headers }), offset: log.length, timestampMs };
      log.push(record);
      this.#onAppend({ topic, partition, record, by });
    }
    const place = `${topic}/${partition}`;
    const waiting = this.#waiting.get(place);
    this.#waiting.delete(place);
    for (const { from, reply } of waiting ?? []) reply(log.slice(from, from + FETCH_RECORDS));
  }

  /** Answers when there is something to read, or after a while with nothing. */
  fetch(topic: string, partition: number, from: number, reply: (records: readonly LoggedRecord[]) => void): void {
    const log = this.#log(topic, partition);
    if (log.length > from) {
      reply(log.slice(from, from + FETCH_RECORDS));
      return;
    }
    const place = `${topic}/${partition}`;
    const waiting = this.#waiting.get(place) ?? new Set<Waiting>();
    this.#waiting.set(place, waiting);
    const mine = { from, reply };
    waiting.add(mine);
    this.#world.at(FETCH_WAIT_MS, () => {
      if (waiting.delete(mine)) reply([]);
    });
  }

  #logs(topic: string): LoggedRecord[][] {
    const logs = this.#topics.get(topic);
    if (logs === undefined) throw new Error(`no topic ${topic}`);
    return logs;
  }

  #log(topic: string, partition: number): LoggedRecord[] {
    const log = this.#logs(topic)[partition];
    if (log === undefined) throw new Error(`no partition ${partition} of ${topic}`);
    return log;
  }
}

/** Which partition a key belongs to. */
export function partitionOf(key: string, count: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % count;
}
