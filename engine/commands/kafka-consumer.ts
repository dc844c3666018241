/**
 * Reads commands from Kafka with kafkajs: joins the group, fetches, commits. What happens to a record is in
 * command-handler.ts, queues and retries in partition-intake.ts, who holds what in held-partitions.ts.
 *
 * Invariants:
 *   C1. `eachBatch` neither waits nor throws: it queues. Fetches go on, and heartbeats ride on them.
 *   C2. An offset is committed only for a partition that is held, never while a join is under way, and without the
 *       client's own retries, which would repeat it in a later generation.
 *   C3. The group's answers keep the standing good from when their requests were sent; what was lost in a round is given
 *       up before that.
 *   C4. The client is made anew when Kafka was lost; `failed` tells only what a new client would not mend.
 *   C5. An offset is committed only when the store was asked after its delay and answered: it lived so long, and nothing
 *       of it was in doubt meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@flowops/proto/errors.ts';
import type { Consumer, EachBatchPayload, RequestEvent } from 'kafkajs';
import { pause } from '../base/pause.ts';
import type { Log } from '../log.ts';
import {
  clientErrorText,
  isConnectionTrouble,
  type KafkaClient,
  KafkaUnavailable,
  kafkaErrorType,
} from '../publishing/kafka-client.ts';
import { retryPauseMs } from '../publishing/retry-pause.ts';
import { type CommandHandlerOptions, type CommandRecord, handleRecord } from './command-handler.ts';
import { registerCompressions } from './compression.ts';
import { groupAssigner } from './group-assigner.ts';
import type { GroupStanding } from './group-standing.ts';
import { HeldPartitions } from './held-partitions.ts';
import { PartitionIntake } from './partition-intake.ts';
import type { StoreCertainty } from './store-certainty.ts';

const SESSION_TIMEOUT_MS = 6000;
const REBALANCE_TIMEOUT_MS = 10_000;
/** Of an idle fetch. Heartbeats ride on fetches: with the client's default they would come every 5 s. */
const FETCH_WAIT_MS = 500;
/** One comes with the next fetch after this time: several within the time that the standing lasts. */
const HEARTBEAT_INTERVAL_MS = 500;
/** A larger single record is read all the same: the broker sends at least one. */
const FETCH_PARTITION_BYTES = 1024 * 1024;
const FETCH_BYTES = 10 * 1024 * 1024;
/** At least the partitions one engine holds; a worker that has nothing to do costs nothing. */
const CONCURRENT_PARTITIONS = 512;
/** Offsets are committed at most this often: a commit per command would cost more than the command. */
const COMMIT_INTERVAL_MS = 50;
const COMMIT_RETRY_MS = 500;
/** What is still in flight when the engine goes is read again by the next; this bounds the wait for it. */
const CLOSE_TIMEOUT_MS = 30_000;
/** Leaving the group in order takes as long as an idle fetch; brokers that do not answer are not waited for. */
const DISCONNECT_TIMEOUT_MS = 2000;

export interface KafkaConsumerOptions extends CommandHandlerOptions {
  readonly client: KafkaClient;
  readonly groupId: string;
  /** New partitions of the topic are noticed within this time. */
  readonly partitionsSeenMs: number;
  /** Told of every answer of the group; its own. */
  readonly standing: GroupStanding;
  /** At once, before the sink is told. */
  readonly onLost: (partitions: readonly number[]) => void;
  readonly onGained: (partitions: readonly number[]) => void;
  /** What offsets wait for; closed by whoever made it. */
  readonly certainty: Pick<StoreCertainty, 'delayMs' | 'sinceMs' | 'isStill'>;
}

/** The store lived until `atMs`, and nothing it acknowledged since `sinceMs` is lost; monotonic. */
interface Proof {
  readonly atMs: number;
  readonly sinceMs: number;
}

export class KafkaCommandConsumer {
  readonly #options: KafkaConsumerOptions;
  readonly #log: Log;
  readonly #held: HeldPartitions;
  readonly #closing = new AbortController();
  readonly #failure = Promise.withResolvers<KafkaUnavailable>();
  #consumer: Consumer | undefined;
  #commit: EachBatchPayload['commitOffsetsIfNecessary'] | undefined;
  #commitTimer: NodeJS.Timeout | undefined;
  #commitRunning: Promise<void> | undefined;
  /** When the group's last answered request was sent, per kind of request. */
  readonly #sentAtMs = new Map<string, number>();
  #isStopped = false;
  #isLost = false;
  #closed: Promise<void> | undefined;

  constructor(options: KafkaConsumerOptions) {
    registerCompressions();
    this.#options = options;
    this.#log = options.log;
    this.#held = new HeldPartitions({
      sink: options.sink,
      log: options.log,
      createIntake: (partition) => this.#createIntake(partition),
      standing: options.standing,
      onLost: options.onLost,
      onGained: options.onGained,
      pause,
      signal: this.#closing.signal,
    });
    // What was read before the process was stopped is not for it to do when it wakes, until the group has answered.
    options.standing.onChange(() => {
      for (const [, intake] of this.#held.intakes()) intake.wake();
    });
  }

  /** Resolves (never rejects) when consuming has ended for good; the process should end with exit code 3. */
  get failed(): Promise<KafkaUnavailable> {
    return this.#failure.promise;
  }

  /** The partitions held now. */
  get partitions(): readonly number[] {
    return this.#held.partitions;
  }

  /** Resolves when the group was joined, or consuming has failed. */
  async start(): Promise<void> {
    await this.#connect(1);
  }

  /** Takes no further command; stays in the group, so that what is held stays held. */
  stopTaking(): void {
    this.#isStopped = true;
    for (const [, intake] of this.#held.intakes()) intake.stop();
  }

  /**
   * Waits for what is in flight and for its durability (until `signal` is aborted, at most 30 s), commits, gives its
   * partitions up, and only then leaves the group: whoever gets them finds what this engine handed over. Idempotent.
   */
  close(signal?: AbortSignal): Promise<void> {
    this.#closed ??= this.#close(signal);
    return this.#closed;
  }

  async #close(signal: AbortSignal | undefined): Promise<void> {
    this.stopTaking();
    const giveUp = AbortSignal.any([AbortSignal.timeout(CLOSE_TIMEOUT_MS), ...(signal === undefined ? [] : [signal])]);
    await untilAborted(this.#settle(giveUp), giveUp);
    this.#closing.abort();
    clearTimeout(this.#commitTimer);
    await untilAborted(this.#held.leave(), giveUp);
    this.#options.standing.close();
    await this.#disconnect();
  }

  /** All in flight done, old enough and committed. */
  async #settle(giveUp: AbortSignal): Promise<void> {
    const intakes = this.#held.intakes().map(([, intake]) => intake);
    await Promise.all(intakes.map((intake) => intake.idle()));
    const dueMs = Math.max(0, ...intakes.map((intake) => intake.prefixDueMs() ?? 0));
    // Again until it is so: a timer may fire a moment early, and what is not due would not be committed.
    for (let left = dueMs - performance.now(); left > 0; left = dueMs - performance.now()) {
      await sleep(Math.ceil(left), undefined, { signal: giveUp });
    }
    await this.#commitRunning;
    await this.#commitNow();
  }

  async #connect(attempt: number): Promise<void> {
    const { client, groupId, topic, partitionsSeenMs } = this.#options;
    const consumer = client.kafka.consumer({
      groupId,
      sessionTimeout: SESSION_TIMEOUT_MS,
      rebalanceTimeout: REBALANCE_TIMEOUT_MS,
      heartbeatInterval: HEARTBEAT_INTERVAL_MS,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      maxBytesPerPartition: FETCH_PARTITION_BYTES,
      maxBytes: FETCH_BYTES,
      metadataMaxAge: partitionsSeenMs,
      allowAutoTopicCreation: false,
      partitionAssigners: [
        groupAssigner({
          topic,
          // Whoever was not heard for long has lost what it held: its claim would only move it away from its owner.
          owned: () => (this.#options.standing.isGood ? this.#held.partitions : []),
          isLeaving: () => this.#isStopped,
          onJoin: () => this.#held.joinBegins(),
        }),
      ],
      retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 1000, restartOnFailure: async () => false },
    });
    this.#consumer = consumer;
    const { GROUP_JOIN, HEARTBEAT, REQUEST, CRASH } = consumer.events;
    consumer.on(REQUEST, (event) => this.#answered(event));
    consumer.on(HEARTBEAT, () => this.#heard('Heartbeat'));
    consumer.on(GROUP_JOIN, ({ payload }) => {
      this.#joined(payload.memberId, payload.memberAssignment[topic] ?? []);
      this.#heard('SyncGroup');
    });
    consumer.on(CRASH, ({ payload }) => this.#crashed(consumer, payload.error, attempt));
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        partitionsConsumedConcurrently: CONCURRENT_PARTITIONS,
        eachBatch: async (payload) => this.#receive(payload),
      });
    } catch (thrown) {
      await this.#crashed(consumer, thrown, attempt);
    }
  }

  /** C1. */
  #receive({ batch, commitOffsetsIfNecessary }: EachBatchPayload): void {
    this.#commit = commitOffsetsIfNecessary;
    if (this.#isStopped) return;
    const { partition } = batch;
    const records: CommandRecord[] = batch.messages.map(({ key, value, headers, offset, timestamp }) => {
      return { key, value, offset, timestamp, ...(headers === undefined ? {} : { headers }) };
    });
    if (this.#held.intake(partition)?.offer(records) === 'full') {
      this.#consumer?.pause([{ topic: this.#options.topic, partitions: [partition] }]);
    }
  }

  #createIntake(partition: number): PartitionIntake<CommandRecord> {
    const intake = new PartitionIntake<CommandRecord>({
      delayMs: this.#options.certainty.delayMs,
      now: () => performance.now(),
      pause,
      mayHandOn: () => this.#options.standing.isGood,
      handle: (record) => handleRecord(this.#options, partition, record),
      onFinished: () => this.#scheduleCommit(COMMIT_INTERVAL_MS),
      onRoom: () => this.#consumer?.resume([{ topic: this.#options.topic, partitions: [partition] }]),
      onFailure: (thrown, { offset }, failures) => {
        if (failures > 1) return;
        const error = messageOf(thrown);
        this.#log.warn({ partition, offset, error }, 'a command could not be taken; its partition waits, trying again');
      },
    });
    if (this.#isStopped) intake.stop();
    return intake;
  }

  /** Whether the answer was a good one is told by the event that follows it. */
  #answered({ payload }: RequestEvent): void {
    const ageMs = Math.max(0, Date.now() - payload.sentAt);
    if (payload.apiName === 'Heartbeat' || payload.apiName === 'SyncGroup') {
      this.#sentAtMs.set(payload.apiName, performance.now() - ageMs);
    }
  }

  /** C3. */
  #heard(apiName: 'Heartbeat' | 'SyncGroup'): void {
    const sentAtMs = this.#sentAtMs.get(apiName);
    if (sentAtMs !== undefined && !this.#closing.signal.aborted) this.#options.standing.heard(sentAtMs);
  }

  #joined(memberId: string, partitions: readonly number[]): void {
    if (this.#closing.signal.aborted) return;
    if (this.#isLost) this.#log.info({}, 'Kafka is back; commands are read again');
    this.#isLost = false;
    const gained = this.#held.joined(memberId, partitions);
    // The client keeps a partition paused that was lost while it was.
    if (gained.length > 0) this.#consumer?.resume([{ topic: this.#options.topic, partitions: [...gained] }]);
    this.#scheduleCommit(COMMIT_INTERVAL_MS);
  }

  #scheduleCommit(delayMs: number): void {
    if (this.#closing.signal.aborted || this.#commitTimer !== undefined) return;
    this.#commitTimer = setTimeout(() => {
      this.#commitTimer = undefined;
      this.#commitRunning = this.#commitNow();
    }, delayMs);
  }

  /** Commits what may be, and comes back when the next is due. Never throws. */
  async #commitNow(): Promise<void> {
    const isDue = Math.min(...this.#dueTimes()) <= performance.now();
    const proof = isDue && !this.#held.isRebalancing ? await this.#prove() : undefined;
    // A join may have begun while the store was asked.
    const offsets = proof === undefined || this.#held.isRebalancing ? [] : this.#committable(proof);
    let isRefused = isDue && proof === undefined;
    if (offsets.length > 0 && this.#commit !== undefined) {
      const { topic } = this.#options;
      const partitions = offsets.map(({ partition, offset }) => ({ partition, offset: String(offset) }));
      try {
        await this.#commit({ topics: [{ topic, partitions }] });
        for (const { intake, offset } of offsets) intake.confirm(offset);
      } catch (thrown) {
        // The group is changing or Kafka is away: the next assignment or connection tries again.
        isRefused = true;
        this.#log.debug({ error: clientErrorText(thrown) }, 'offsets could not be committed');
      }
    }
    const dueMs = Math.min(...this.#dueTimes());
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const pauseMs = isRefused || this.#held.isRebalancing ? COMMIT_RETRY_MS : COMMIT_INTERVAL_MS;
    this.#scheduleCommit(Math.max(pauseMs, Math.ceil(dueMs - performance.now())));
  }

  #dueTimes(): readonly number[] {
    return this.#held.intakes().flatMap(([, intake]) => intake.nextDueMs() ?? []);
  }

  /** C5. */
  async #prove(): Promise<Proof | undefined> {
    const { certainty } = this.#options;
    const { sinceMs } = certainty;
    const atMs = performance.now();
    return sinceMs !== undefined && (await certainty.isStill(sinceMs)) ? { atMs, sinceMs } : undefined;
  }

  #committable(proof: Proof): readonly { partition: number; intake: PartitionIntake<CommandRecord>; offset: bigint }[] {
    return this.#held.intakes().flatMap(([partition, intake]) => {
      const offset = intake.committable(proof);
      return offset === undefined ? [] : [{ partition, intake, offset }];
    });
  }

  /** C4. */
  async #crashed(consumer: Consumer, thrown: unknown, attempt: number): Promise<void> {
    if (consumer !== this.#consumer || this.#closing.signal.aborted) return;
    this.#commit = undefined;
    this.#options.client.destroyConnections('the consumer is made anew');
    await this.#disconnect();
    if (!isConnectionTrouble(thrown)) {
      this.#options.standing.left();
      await this.#held.leave();
      this.#failure.resolve(new KafkaUnavailable(explain(thrown, this.#options), { cause: thrown }));
      return;
    }
    if (!this.#isLost) {
      this.#log.warn({ error: clientErrorText(thrown) }, 'Kafka is lost; trying again until it is back');
    }
    this.#isLost = true;
    await sleep(retryPauseMs(attempt), undefined, { signal: this.#closing.signal }).catch(() => {});
    if (!this.#closing.signal.aborted) await this.#connect(attempt + 1);
  }

  async #disconnect(): Promise<void> {
    const consumer = this.#consumer;
    this.#consumer = undefined;
    const { client } = this.#options;
    const giveUp = () =>
      this.#closing.signal.aborted ? client.shutDown() : client.destroyConnections('no answer while disconnecting');
    const timer = setTimeout(giveUp, DISCONNECT_TIMEOUT_MS);
    try {
      await consumer?.disconnect();
    } catch (thrown) {
      this.#log.debug({ error: clientErrorText(thrown) }, 'the consumer did not disconnect in order');
    } finally {
      clearTimeout(timer);
    }
  }
}

function explain(thrown: unknown, { groupId, topic }: KafkaConsumerOptions): string {
  switch (kafkaErrorType(thrown)) {
    case 'INCONSISTENT_GROUP_PROTOCOL':
      return (
        `The group ${groupId} has members of another kind, so this engine cannot join it. ` +
        'Stop the other consumers (a former engine?) or set KAFKA_GROUP_ID.'
      );
    case 'GROUP_AUTHORIZATION_FAILED':
      return `Kafka does not allow this client to join the group ${groupId} (KAFKA_GROUP_ID).`;
    case 'TOPIC_AUTHORIZATION_FAILED':
      return `Kafka does not allow this client to read the topic ${topic} (KAFKA_COMMANDS_TOPIC).`;
    default:
      return `Reading commands from ${topic} ended: ${clientErrorText(thrown)}`;
  }
}

/** Waits for the work, but not beyond the signal. */
async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  await Promise.race([work.catch(() => {}), aborted]);
}
