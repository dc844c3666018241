/** Where commands go once they are read: the contract between a source of commands and the run loop. */
import type { Command } from '@flowops/proto/commands.ts';

/** The record a command was read from. */
export interface CommandOrigin {
  readonly partition: number;
  /** Decimal digits: Kafka's offsets are 64-bit. */
  readonly offset: string;
  /** Kafka's time of the record, epoch ms; not the time the sender wrote into the command. */
  readonly recordTimeMs: number;
}

export interface CommandSink {
  /**
   * Resolves when the command's effect (or refusal) is durable: its offset may be committed. Rejects only when the
   * infrastructure behind it fails (StoreUnavailable): the source offers the same command again after a pause, and
   * reads no further in its partition until it was taken.
   *
   * Commands of different runs are handled concurrently; the sink keeps order within a run. A sink that rejects a
   * command rejects those of the same run that wait behind it too: they are offered again in their order.
   */
  take(command: Command, origin: CommandOrigin): Promise<void>;
  /**
   * Opens the partitions' epochs and starts the recovery of their runs. Commands of a partition are taken only after
   * this resolved. Called again after a pause when it rejects, as long as the partitions are held.
   */
  partitionsAssigned(partitions: readonly number[]): Promise<void>;
  /** The partitions may have another owner already. What was taken from them may still settle; its result is ignored. */
  partitionsRevoked(partitions: readonly number[]): Promise<void>;
}
