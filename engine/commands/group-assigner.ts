/**
 * The assigner our consumers bring into the group: sticky-assignment.ts, spoken as the consumer protocol. It is also the
 * only place where the client tells that a rebalance begins: every join calls `protocol()`.
 */
import { type Assigner, AssignerProtocol, type PartitionAssigner } from 'kafkajs';
import { z } from 'zod';
import { assignPartitions, type Member } from './sticky-assignment.ts';

const PROTOCOL_NAME = 'flowops-sticky';
const PROTOCOL_VERSION = 1;

/** What a member tells about itself when it joins; an unreadable one counts as empty. */
const userDataSchema = z.object({
  owned: z.array(z.number().int().nonnegative()),
  isLeaving: z.boolean().default(false),
});

export interface GroupAssignerOptions {
  readonly topic: string;
  /** The partitions held now; asked at every join. */
  readonly owned: () => readonly number[];
  /** It takes no commands any more and wants nothing that it does not hold already. */
  readonly isLeaving: () => boolean;
  /** A join begins: what is held may be given to others from now on. */
  readonly onJoin: () => void;
}

export function groupAssigner({ topic, owned, isLeaving, onJoin }: GroupAssignerOptions): PartitionAssigner {
  return ({ cluster }): Assigner => ({
    name: PROTOCOL_NAME,
    version: PROTOCOL_VERSION,
    protocol: ({ topics }) => {
      onJoin();
      const userData = Buffer.from(JSON.stringify({ owned: owned(), isLeaving: isLeaving() }));
      return {
        name: PROTOCOL_NAME,
        metadata: AssignerProtocol.MemberMetadata.encode({ version: PROTOCOL_VERSION, topics, userData }),
      };
    },
    assign: async ({ members }) => {
      const partitions = cluster.findTopicPartitionMetadata(topic).map((metadata) => metadata.partitionId);
      const shares = assignPartitions(
        partitions,
        members.map(({ memberId, memberMetadata }) => ({ memberId, ...readUserData(memberMetadata) })),
      );
      return [...shares].map(([memberId, mine]) => ({
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({
          version: PROTOCOL_VERSION,
          assignment: { [topic]: [...mine] },
          userData: Buffer.alloc(0),
        }),
      }));
    },
  });
}

function readUserData(memberMetadata: Buffer): Omit<Member, 'memberId'> {
  const userData = AssignerProtocol.MemberMetadata.decode(memberMetadata)?.userData;
  const nothing = { owned: [], isLeaving: false };
  if (userData === undefined || userData === null) return nothing;
  try {
    const parsed = userDataSchema.safeParse(JSON.parse(userData.toString()));
    return parsed.success ? parsed.data : nothing;
  } catch {
    return nothing;
  }
}
