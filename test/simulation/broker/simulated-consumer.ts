/**
 * What KafkaCommandConsumer is to Kafka, to the simulated broker: joins the group, heartbeats, fetches, commits. What it
 * drives is the real thing: HeldPartitions, PartitionIntake with its OffsetTracker, handleRecord.
 */
import {
  type CommandHandlerOptions,
  type CommandRecord,
  handleRecord,
} from '@flowops/engine/commands/command-handler.ts';
import type { GroupStanding } from '@flowops/engine/commands/group-standing.ts';
import { HeldPartitions } from '@flowops/engine/commands/held-partitions.ts';
import { PartitionIntake } from '@flowops/engine/commands/partition-intake.ts';
import type { StoreCertainty } from '@flowops/engine/commands/store-certainty.ts';
import type { Log } from '@flowops/engine/log.ts';
import { retryPauseMs } from '@flowops/engine/publishing/retry-pause.ts';
import type { SimProcess } from '../world/process.ts';
import { Unreachable, type Wire } from '../world/wire.ts';
import { type Broker, COMMANDS, type LoggedRecord } from './broker.ts';
import type { Group, JoinAnswer } from './group.ts';

const HEARTBEAT_MS = 1_000;
const COMMIT_MS = 50;
const COMMIT_RETRY_MS = 500;
/** The answer to a join comes when the round ends. */
const JOIN_TIMEOUT_MS = 15_000;
const FETCH_TIMEOUT_MS = 10_000;

export interface SimulatedConsumerOptions extends Omit<CommandHandlerOptions, 'topic' | 'now'> {
  readonly process: SimProcess;
  readonly wire: Wire;
  readonly broker: Broker;
  readonly group: Group;
  /** Of the store that the sink writes to. */
  readonly certainty: Pick<StoreCertainty, 'delayMs' | 'sinceMs' | 'isStill'>;
  readonly log: Log;
  readonly standing: GroupStanding;
  readonly onLost: (partitions: readonly number[]) => void;
}

export class SimulatedConsumer {
  readonly #options: SimulatedConsumerOptions;
  readonly #handler: CommandHandlerOptions;
  readonly #held: HeldPartitions;
  readonly #closing = new AbortController();
  #memberId = '';
  #generation = -1;
  /** Counts the memberships, so that what belongs to a former one ends. */
  #round = 0;
  #failures = 0;
  #commitTimer: { cancel(): void } | undefined;
  #commitRunning: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: SimulatedConsumerOptions) {
    this.#options = options;
    this.#handler = { ...options, topic: COMMANDS, now: () => options.process.nowMs() };
    this.#held = new HeldPartitions({
      sink: options.sink,
      log: options.log,
      createIntake: (partition) => this.#createIntake(partition),
      onLost: options.onLost,
      standing: options.standing,
      pause: (ms, signal) => options.process.pause(ms, signal),
      signal: this.#closing.signal,
    });
    options.standing.onChange(() => {
      for (const [, intake] of this.#held.intakes()) intake.wake();
    });
  }

  get partitions(): readonly number[] {
    return this.#held.partitions;
  }

  start(): void {
    void this.#join();
  }

  stopTaking(): void {
    this.#isStopped = true;
    for (const [, intake] of this.#held.intakes()) intake.stop();
  }

  /** In the order of the real one: what is in flight, its offsets, the partitions, the group. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.stopTaking();
    const { process, wire, group, standing } = this.#options;
    const intakes = this.#held.intakes().map(([, intake]) => intake);
    await Promise.all(intakes.map((intake) => intake.idle()));
    const dueMs = Math.max(0, ...intakes.map((intake) => intake.prefixDueMs() ?? 0));
    await process.pause(Math.max(0, dueMs - this.#nowMs()), this.#closing.signal);
    await this.#commitRunning;
    await this.#commitNow();
    this.#closing.abort();
    this.#commitTimer?.cancel();
    this.#round++;
    await this.#held.leave();
    standing.close();
    await wire.call('leave the group', () => group.leave(this.#memberId)).catch(ignoreUnreachable);
  }

  #nowMs(): number {
    return this.#options.process.world.nowMs;
  }

  async #join(): Promise<void> {
    const { wire, group, process, standing } = this.#options;
    const round = ++this.#round;
    for (;;) {
      this.#held.joinBegins();
      const claim = { owned: standing.isGood ? this.#held.partitions : [], isLeaving: this.#isStopped };
      try {
        const answer = await wire.ask<JoinAnswer>(
          `join as ${this.#memberId || 'new'}`,
          (reply) => group.join(this.#memberId, claim, reply),
          JOIN_TIMEOUT_MS,
        );
        if (round !== this.#round) return;
        if (answer.result === 'unknown-member') {
          this.#memberId = '';
          continue;
        }
        this.#failures = 0;
        this.#memberId = answer.memberId;
        this.#generation = answer.generation;
        this.#held.joined(answer.memberId, answer.partitions);
        standing.heard(answer.atMs);
        this.#scheduleCommit(COMMIT_MS);
        for (const partition of answer.partitions) void this.#read(partition, round);
        void this.#beat(round);
        return;
      } catch (thrown) {
        ignoreUnreachable(thrown);
        if (round !== this.#round) return;
        // A client that is made anew after some failures does not know who it was.
        if (++this.#failures > 2) this.#memberId = '';
        await process.pause(retryPauseMs(this.#failures), this.#closing.signal);
        if (round !== this.#round) return;
      }
    }
  }

  async #beat(round: number): Promise<void> {
    const { wire, group, process, standing } = this.#options;
    for (;;) {
      await process.pause(HEARTBEAT_MS, this.#closing.signal);
      if (round !== this.#round) return;
      try {
        const sentMs = this.#nowMs();
        const answer = await wire.call('heartbeat', () => group.heartbeat(this.#memberId, this.#generation));
        if (round !== this.#round) return;
        if (answer === 'ok') standing.heard(sentMs);
        else {
          if (answer === 'unknown-member') this.#memberId = '';
          void this.#join();
          return;
        }
      } catch (thrown) {
        ignoreUnreachable(thrown);
      }
    }
  }

  async #read(partition: number, round: number): Promise<void> {
    const { wire, group, broker, process } = this.#options;
    let position: number | undefined;
    while (round === this.#round && !this.#isStopped) {
      try {
        position ??= Number(await wire.call(`offset of ${partition}`, () => group.committed(partition)));
        const from = position;
        const records = await wire.ask<readonly LoggedRecord[]>(
          `fetch ${partition} from ${from}`,
          (reply) => broker.fetch(COMMANDS, partition, from, reply),
          FETCH_TIMEOUT_MS,
        );
        if (round !== this.#round) return;
        position += records.length;
        if (records.length > 0) this.#held.intake(partition)?.offer(records.map(asCommandRecord));
      } catch (thrown) {
        ignoreUnreachable(thrown);
        await process.pause(retryPauseMs(1), this.#closing.signal);
      }
    }
  }

  #createIntake(partition: number): PartitionIntake<CommandRecord> {
    const { process, certainty, standing } = this.#options;
    const intake = new PartitionIntake<CommandRecord>({
      delayMs: certainty.delayMs,
      mayHandOn: () => standing.isGood,
      now: () => this.#nowMs(),
      pause: (ms, signal) => process.pause(ms, signal),
      handle: (record) => handleRecord(this.#handler, partition, record),
      onFinished: () => this.#scheduleCommit(COMMIT_MS),
      onRoom: () => undefined,
      onFailure: () => undefined,
    });
    if (this.#isStopped) intake.stop();
    return intake;
  }

  #scheduleCommit(delayMs: number): void {
    if (this.#closing.signal.aborted || this.#commitTimer !== undefined) return;
    this.#commitTimer = this.#options.process.after(delayMs, () => {
      this.#commitTimer = undefined;
      this.#commitRunning = this.#commitNow();
    });
  }

  async #commitNow(): Promise<void> {
    const { wire, group } = this.#options;
    const isDue = Math.min(...this.#dueTimes()) <= this.#nowMs();
    const proof = isDue && !this.#held.isRebalancing ? await this.#prove() : undefined;
    const offsets = proof === undefined || this.#held.isRebalancing ? [] : this.#committable(proof);
    let isRefused = isDue && proof === undefined;
    if (offsets.length > 0) {
      const named = offsets.map(({ partition, offset }) => [partition, offset] as const);
      const told = named.map(([partition, offset]) => `${partition}:${offset}`).join(' ');
      const answer = await wire
        .call(`commit offsets ${told}`, () => group.commit(this.#memberId, this.#generation, named))
        .catch(ignoreUnreachable);
      isRefused = answer !== 'ok';
      if (!isRefused) for (const { intake, offset } of offsets) intake.confirm(offset);
    }
    const dueMs = Math.min(...this.#dueTimes());
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const pauseMs = isRefused || this.#held.isRebalancing ? COMMIT_RETRY_MS : COMMIT_MS;
    this.#scheduleCommit(Math.max(pauseMs, Math.ceil(dueMs - this.#nowMs())));
  }

  #dueTimes(): readonly number[] {
    return this.#held.intakes().flatMap(([, intake]) => intake.nextDueMs() ?? []);
  }

  /** That the store lives, and has not lost anything since. */
  async #prove(): Promise<{ readonly atMs: number; readonly sinceMs: number } | undefined> {
    const { certainty } = this.#options;
    const { sinceMs } = certainty;
    const atMs = this.#nowMs();
    return sinceMs !== undefined && (await certainty.isStill(sinceMs)) ? { atMs, sinceMs } : undefined;
  }

  #committable(proof: {
    readonly atMs: number;
    readonly sinceMs: number;
  }): readonly { partition: number; intake: PartitionIntake<CommandRecord>; offset: bigint }[] {
    return this.#held.intakes().flatMap(([partition, intake]) => {
      const offset = intake.committable(proof);
      return offset === undefined ? [] : [{ partition, intake, offset }];
    });
  }
}

function asCommandRecord({ offset, timestampMs, key, value, headers }: LoggedRecord): CommandRecord {
  const told = { key, value, offset: String(offset), timestamp: String(timestampMs) };
  return headers === undefined ? told : { ...told, headers };
}

function ignoreUnreachable(thrown: unknown): undefined {
  if (!(thrown instanceof Unreachable)) throw thrown;
  return undefined;
}
