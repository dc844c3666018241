/**
 * Sends a command that was read on one partition on to the home partition of its run: key, value and Kafka's time as
 * they were. Headers of ours tell how often it was sent on, which is bounded, so that two engines that disagree about a
 * home do not send a command to and fro for ever; and where it was read first, so that copies of it (its reader died
 * before it could commit) are known as one command.
 */
import type { OutgoingRecord } from '../publishing/send-lane.ts';
import type { Sender, TopicTarget } from '../publishing/sender.ts';
import type { CommandOrigin, FirstPlace } from './command-sink.ts';
import type { SourceRecord } from './dead-letters.ts';

const HOPS_HEADER = 'flowops-hops';
/** `<partition>:<offset>` of the first reading. */
const ORIGIN_HEADER = 'flowops-origin';
/** One is usual; two when the home was told by a store that had just gone back in time. */
export const MAX_HOPS = 3;
const PARTITION = /^(?:0|[1-9]\d{0,8})$/;
const PLACE = /^(\d{1,9}):(\d{1,19})$/;

export type ForwardResult =
  | { readonly result: 'sent' }
  /** The command cannot get there; the problem is a sentence without its end. */
  | { readonly result: 'refused'; readonly problem: string };

export interface CommandForwarder {
  /**
   * Resolves when the record is acknowledged on its new partition. Rejects when the record has to be offered again.
   * @param from where it was read
   */
  forward(record: SourceRecord, from: CommandOrigin, home: string): Promise<ForwardResult>;
}

export class KafkaForwarder implements CommandForwarder {
  readonly #sender: Sender;
  readonly #topic: string;
  readonly #target: TopicTarget;

  constructor(sender: Sender, topic: string) {
    this.#sender = sender;
    this.#topic = topic;
    this.#target = { topic, shrink: () => undefined };
  }

  async forward(record: SourceRecord, from: CommandOrigin, home: string): Promise<ForwardResult> {
    const onward = nextHop(record, from);
    if (onward === undefined) {
      return refused(`the command was sent on ${MAX_HOPS} times and its run's home is still another partition`);
    }
    const partition = PARTITION.test(home) ? Number(home) : undefined;
    if (partition === undefined || !(await this.#sender.hasPartition(this.#topic, partition))) {
      return refused(`the home of the run is ${home}, which is no partition of ${this.#topic}`);
    }
    const sent = await this.#sender.send(this.#target, [onward], { partition, home: String(from.partition) });
    if (sent === 'sent') return { result: 'sent' };
    return refused(`the command is too large to be sent on to partition ${home}, the home of its run`);
  }
}

/** The record as it is sent on; undefined when it was sent on often enough. */
export function nextHop(record: SourceRecord, from: CommandOrigin): OutgoingRecord | undefined {
  const hops = hopsOf(record);
  if (hops >= MAX_HOPS) return undefined;
  const { partition, offset } = from.first ?? from;
  const ours = { [HOPS_HEADER]: String(hops + 1), [ORIGIN_HEADER]: `${partition}:${offset}` };
  return { ...record, headers: { ...record.headers, ...ours } };
}

/** Where the command was read first, when it was sent on since. */
export function firstPlace(record: SourceRecord): FirstPlace | undefined {
  const [, partition, offset] = PLACE.exec(headerText(record, ORIGIN_HEADER)) ?? [];
  if (partition === undefined || offset === undefined || hopsOf(record) === 0) return undefined;
  return { partition: Number(partition), offset };
}

/** A header that is no number of ours counts as none: the record is on its first way then. */
function hopsOf(record: SourceRecord): number {
  const text = headerText(record, HOPS_HEADER);
  return /^\d{1,3}$/.test(text) ? Number(text) : 0;
}

function headerText({ headers }: SourceRecord, name: string): string {
  const header = headers?.[name];
  return String((Array.isArray(header) ? header.at(-1) : header) ?? '');
}

function refused(problem: string): ForwardResult {
  return { result: 'refused', problem };
}
