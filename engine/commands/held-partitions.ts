/**
 * The partitions this engine holds, across the rounds of the group protocol. Tells the sink what was lost and gained, one
 * round after the other, and opens the intake of a partition when the sink is ready for it.
 *
 * A partition is kept across a round only when nobody else can have held it in between: the group still knows us by the
 * same member id, and one join brought us from the last assignment to this one. Else it counts as lost and gained anew.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import type { Pause } from '../base/pause.ts';
import { ALWAYS_GOOD, type Standing, untilGood } from '../base/standing.ts';
import type { Log } from '../log.ts';
import { retryPauseMs } from '../publishing/retry-pause.ts';
import type { CommandRecord } from './command-handler.ts';
import type { CommandSink } from './command-sink.ts';
import type { PartitionIntake } from './partition-intake.ts';

type Intake = PartitionIntake<CommandRecord>;

export interface HeldPartitionsOptions {
  readonly sink: CommandSink;
  readonly createIntake: (partition: number) => Intake;
  /** Partitions are taken over only while it is good: a process that was stopped may wake with an old assignment. */
  readonly standing?: Standing;
  readonly log: Log;
  /** At once, before the sink is told: nobody may act for these any more. */
  readonly onLost?: (partitions: readonly number[]) => void;
  /** At once, after `onLost`. */
  readonly onGained?: (partitions: readonly number[]) => void;
  readonly pause: Pause;
  /** Ends the waits when the consumer closes. */
  readonly signal: AbortSignal;
}

export class HeldPartitions {
  readonly #options: HeldPartitionsOptions;
  readonly #intakes = new Map<number, Intake>();
  /** Everything told so far: assignments one after the other, each after the revocations before it. */
  #told: Promise<unknown> = Promise.resolve();
  #revoked: Promise<unknown> = Promise.resolve();
  /** Gained, and the sink has not taken them over yet. */
  readonly #beingAssigned = new Set<number>();
  /** Aborted, and made anew, whenever something is lost. */
  #loss = new AbortController();
  #memberId: string | undefined;
  #joins = 0;

  constructor(options: HeldPartitionsOptions) {
    this.#options = options;
  }

  /** From the beginning of a join to its assignment: what is held may be given to others. */
  get isRebalancing(): boolean {
    return this.#joins > 0;
  }

  get partitions(): readonly number[] {
    return [...this.#intakes.keys()];
  }

  intake(partition: number): Intake | undefined {
    return this.#intakes.get(partition);
  }

  intakes(): readonly (readonly [number, Intake])[] {
    return [...this.#intakes];
  }

  joinBegins(): void {
    this.#joins++;
  }

  /** @returns the partitions that were not held before */
  joined(memberId: string, partitions: readonly number[]): readonly number[] {
    const isContinued = memberId === this.#memberId && this.#joins === 1;
    this.#joins = 0;
    this.#memberId = memberId;
    const lost = this.partitions.filter((partition) => !isContinued || !partitions.includes(partition));
    this.#end(lost);
    const gained = partitions.filter((partition) => !this.#intakes.has(partition));
    for (const partition of gained) this.#intakes.set(partition, this.#options.createIntake(partition));
    if (gained.length > 0) this.#options.onGained?.(gained);
    this.#tell(lost, gained);
    return gained;
  }

  /** The group was left, or the client is given up: everything is lost. Resolves when the sink knows. */
  async leave(): Promise<void> {
    this.#memberId = undefined;
    this.#joins = 0;
    const lost = this.partitions;
    this.#end(lost);
    this.#tell(lost, []);
    await this.#told;
  }

  #end(partitions: readonly number[]): void {
    if (partitions.length === 0) return;
    this.#options.onLost?.(partitions);
    for (const partition of partitions) {
      this.#intakes.get(partition)?.end();
      this.#intakes.delete(partition);
    }
    this.#loss.abort();
    this.#loss = new AbortController();
  }

  /** A revocation waits only for assignments of the same partitions: one that waits for the store holds up no other. */
  #tell(lost: readonly number[], gained: readonly number[]): void {
    const intakes = gained.flatMap((partition) => this.#intakes.get(partition) ?? []);
    const before = lost.some((partition) => this.#beingAssigned.has(partition)) ? this.#told : this.#revoked;
    if (lost.length > 0) this.#revoked = before.then(() => this.#revoke(lost));
    for (const partition of gained) this.#beingAssigned.add(partition);
    this.#told = Promise.all([this.#told, this.#revoked]).then(async () => {
      if (gained.length > 0) await this.#assign(gained, intakes);
      for (const partition of gained) this.#beingAssigned.delete(partition);
    });
  }

  async #revoke(partitions: readonly number[]): Promise<void> {
    this.#options.log.info({ partitions }, 'command partitions given up');
    try {
      await this.#options.sink.partitionsRevoked(partitions);
    } catch (thrown) {
      // They are gone whether the sink could note it or not: its writes carry an epoch that a successor raises.
      this.#options.log.warn({ partitions, error: messageOf(thrown) }, 'giving up command partitions did not end well');
    }
  }

  async #assign(partitions: readonly number[], intakes: readonly Intake[]): Promise<void> {
    const { sink, log, pause, signal, standing = ALWAYS_GOOD } = this.#options;
    log.info({ partitions }, 'command partitions taken over');
    for (let failures = 0; ; ) {
      const held = partitions.filter((_, index) => intakes[index]?.isEnded === false);
      if (held.length === 0 || signal.aborted) return;
      if (!standing.isGood) {
        await untilGood(standing, AbortSignal.any([signal, this.#loss.signal]));
        continue;
      }
      try {
        await sink.partitionsAssigned(held);
        for (const intake of intakes) if (!intake.isEnded) intake.open();
        return;
      } catch (thrown) {
        failures++;
        if (failures === 1) {
          log.warn({ partitions, error: messageOf(thrown) }, 'taking over command partitions failed; trying again');
        }
        await pause(retryPauseMs(failures), signal);
      }
    }
  }
}
