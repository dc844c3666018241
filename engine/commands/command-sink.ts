/** Where commands go once they are read: the contract between a source of commands and the run loop. */
import type { Command } from '@flowops/proto/commands.ts';

/** The record a command was read from. */
export interface CommandOrigin {
  readonly partition: number;
  /** Decimal digits: Kafka's offsets are 64-bit. */
  readonly offset: string;
  /** Kafka's time of the record, epoch ms; not the time the sender wrote into the command. */
  readonly recordTimeMs: number;
  /** Where the command was read first, when it was sent on to this partition since: the same for each copy of it. */
  readonly first?: FirstPlace;
}

export interface FirstPlace {
  readonly partition: number;
  readonly offset: string;
}

/** The run's home is another partition of the topic: the command has to be sent there (design 4.1). */
export interface Elsewhere {
  /** The partition's name: its number in decimal digits, when it is one of the topic's. */
  readonly home: string;
}

export interface CommandSink {
  /**
   * Resolves with nothing when the command's effect (or refusal) is durable: its offset may be committed. Resolves with
   * the home of a run that is elsewhere when nothing was done: whoever read the command sends it on, also when this
   * engine holds the home, because order and the memory of redeliveries are the home's. Rejects only when the
   * infrastructure behind it fails (StoreUnavailable): the source offers the same command again after a pause, and
   * reads no further in its partition until it was taken.
   *
   * Commands of different runs are handled concurrently; the sink keeps order within a run. A sink that rejects a
   * command rejects those of the same run that wait behind it too: they are offered again in their order.
   */
  take(command: Command, origin: CommandOrigin): Promise<Elsewhere | undefined>;
  /**
   * Opens the partitions' epochs and starts the recovery of their runs. Commands of a partition are taken only after
   * this resolved. Called again after a pause when it rejects, as long as the partitions are held.
   */
  partitionsAssigned(partitions: readonly number[]): Promise<void>;
  /** The partitions may have another owner already. What was taken from them may still settle; its result is ignored. */
  partitionsRevoked(partitions: readonly number[]): Promise<void>;
}
