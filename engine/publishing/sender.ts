/** How records leave: the contract between those who make them and whatever carries them to their topic. */
import type { OutgoingRecord, SendResult } from './send-lane.ts';

export interface TopicTarget {
  readonly topic: string;
  /** See SendLane L3. */
  readonly shrink: (record: OutgoingRecord) => OutgoingRecord | undefined;
}

/** What records are sent as, beside their bytes. */
export interface SendTerms {
  /** Default: the one that the key belongs to. */
  readonly partition?: number;
  /** The command partition in whose owner's name the records are sent; see `release`. */
  readonly home?: string;
}

export interface Sender {
  /**
   * Resolves when all are acknowledged, in the order of the calls for each key and partition. The records have one key.
   * Rejects only with PublisherClosed.
   */
  send(target: TopicTarget, records: readonly OutgoingRecord[], terms?: SendTerms): Promise<SendResult>;
  /** Whether the topic has this partition. Rejects when that cannot be found out now. */
  hasPartition(topic: string, partition: number): Promise<boolean>;
  /** The homes are lost: what still waits in their name is rejected with PublisherClosed. */
  release(homes: ReadonlySet<string>): void;
  /** What was not acknowledged is rejected with PublisherClosed. Idempotent. */
  close(): Promise<void>;
}
