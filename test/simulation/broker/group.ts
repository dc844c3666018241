/**
 * The coordinator of the consumer group, as Kafka's classic protocol has it: members join, a round ends when all that are
 * known have joined or the time is over, who is not heard of for a session is put out, and a commit counts only from a
 * member of the current generation (which partitions it holds is not looked at).
 */
import { assignPartitions, type Member as Claim } from '@flowops/engine/commands/sticky-assignment.ts';
import type { World } from '../world/world.ts';

const SESSION_MS = 6_000;
const ROUND_MS = 10_000;
/** How often the coordinator looks for members that went silent. */
const LOOK_MS = 500;

export type JoinAnswer =
  | {
      readonly result: 'joined';
      readonly memberId: string;
      readonly generation: number;
      readonly partitions: readonly number[];
      /** When the coordinator said so. */
      readonly atMs: number;
    }
  | { readonly result: 'unknown-member' };
export type HeartbeatAnswer = 'ok' | 'rebalance' | 'unknown-member';
export type OffsetCommitAnswer = 'ok' | 'refused';

interface Member {
  readonly memberId: string;
  heardMs: number;
  readonly claim: Omit<Claim, 'memberId'>;
  /** Waits for the end of the round. */
  reply: ((answer: JoinAnswer) => void) | undefined;
}

export class Group {
  readonly #world: World;
  readonly #partitionCount: () => number;
  readonly #onCommit: (partition: number, offset: bigint, memberId: string) => void;
  readonly #members = new Map<string, Member>();
  readonly #offsets = new Map<number, bigint>();
  #generation = 0;
  #round: { readonly endsMs: number } | undefined;
  #assignedCount = 0;
  #lastMember = 0;
  #isLooking = false;

  constructor(
    world: World,
    partitionCount: () => number,
    onCommit: (partition: number, offset: bigint, memberId: string) => void,
  ) {
    this.#world = world;
    this.#partitionCount = partitionCount;
    this.#onCommit = onCommit;
  }

  committed(partition: number): bigint {
    return this.#offsets.get(partition) ?? 0n;
  }

  join(memberId: string, claim: Omit<Claim, 'memberId'>, reply: (answer: JoinAnswer) => void): void {
    if (memberId !== '' && !this.#members.has(memberId)) {
      reply({ result: 'unknown-member' });
      return;
    }
    const id = memberId === '' ? `member-${++this.#lastMember}` : memberId;
    this.#members.set(id, { memberId: id, heardMs: this.#world.nowMs, claim, reply });
    this.#beginRound();
    this.#look();
    this.#endRoundIfDue();
  }

  heartbeat(memberId: string, generation: number): HeartbeatAnswer {
    const member = this.#members.get(memberId);
    if (member === undefined) return 'unknown-member';
    member.heardMs = this.#world.nowMs;
    return this.#round !== undefined || generation !== this.#generation ? 'rebalance' : 'ok';
  }

  leave(memberId: string): void {
    if (this.#members.delete(memberId) && this.#members.size > 0) this.#beginRound();
    this.#endRoundIfDue();
  }

  commit(memberId: string, generation: number, offsets: readonly (readonly [number, bigint])[]): OffsetCommitAnswer {
    if (!this.#members.has(memberId) || generation !== this.#generation) return 'refused';
    for (const [partition, offset] of offsets) {
      this.#onCommit(partition, offset, memberId);
      this.#offsets.set(partition, offset);
    }
    return 'ok';
  }

  /** The topic has more partitions than were given out: the members come together again. */
  partitionsChanged(): void {
    if (this.#members.size > 0 && this.#partitionCount() !== this.#assignedCount) this.#beginRound();
  }

  #beginRound(): void {
    this.#round ??= { endsMs: this.#world.nowMs + ROUND_MS };
  }

  #look(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#world.at(LOOK_MS, () => {
      this.#isLooking = false;
      for (const member of [...this.#members.values()]) {
        if (member.reply !== undefined || this.#world.nowMs - member.heardMs < SESSION_MS) continue;
        this.#world.tell('group', `${member.memberId} is put out`);
        this.#members.delete(member.memberId);
        this.#beginRound();
      }
      this.#endRoundIfDue();
      if (this.#members.size > 0) this.#look();
    });
  }

  #endRoundIfDue(): void {
    if (this.#round === undefined) return;
    const absent = [...this.#members.values()].filter(({ reply }) => reply === undefined);
    if (absent.length > 0 && this.#world.nowMs < this.#round.endsMs) return;
    for (const { memberId } of absent) this.#members.delete(memberId);
    this.#round = undefined;
    this.#generation++;
    this.#assignedCount = this.#partitionCount();
    const partitions = Array.from({ length: this.#assignedCount }, (_, partition) => partition);
    const members = [...this.#members.values()].map(({ memberId, claim }) => ({ memberId, ...claim }));
    const shares = assignPartitions(partitions, members);
    const told = [...shares].map(([memberId, mine]) => `${memberId}: ${mine.join(' ')}`);
    this.#world.tell('group', `generation ${this.#generation}: ${told.join(', ')}`);
    for (const member of this.#members.values()) {
      const { memberId, reply } = member;
      member.reply = undefined;
      member.heardMs = this.#world.nowMs;
      const mine = shares.get(memberId) ?? [];
      const atMs = this.#world.nowMs;
      reply?.({ result: 'joined', memberId, generation: this.#generation, partitions: mine, atMs });
    }
  }
}
