import type { CommandRecord } from '@flowops/engine/commands/command-handler.ts';
import { HeldPartitions } from '@flowops/engine/commands/held-partitions.ts';
import { PartitionIntake } from '@flowops/engine/commands/partition-intake.ts';
import { describe, expect, it } from 'vitest';

describe('HeldPartitions', () => {
  it('hands commands of a partition on only after the sink has taken the partition over', async () => {
    const group = harness();
    const ready = group.sinkWaits();
    group.join('m1', [0]);
    group.offer(0, '5');
    await turn();
    expect(group.told).toEqual(['assigned 0']);
    expect(group.handed).toEqual([]);
    ready();
    await turn();
    expect(group.handed).toEqual(['0/5']);
  });

  it('keeps what stays with it in the next round and tells the sink only what changed', async () => {
    const group = harness();
    group.join('m1', [0, 1]);
    await turn();
    const kept = group.held.intake(0);
    group.join('m1', [0, 2]);
    await turn();
    expect(group.told).toEqual(['assigned 0,1', 'revoked 1', 'assigned 2']);
    expect(group.held.intake(0)).toBe(kept);
    expect(group.held.partitions).toEqual([0, 2]);
  });

  it('counts everything as lost when the group gave it another member id', async () => {
    const group = harness();
    group.join('m1', [0]);
    await turn();
    const before = group.held.intake(0);
    group.join('m2', [0]);
    await turn();
    expect(group.told).toEqual(['assigned 0', 'revoked 0', 'assigned 0']);
    expect(before?.isEnded).toBe(true);
    expect(group.held.intake(0)?.isEnded).toBe(false);
  });

  it('counts everything as lost when more than one join lay between: another may have held it for a round', async () => {
    const group = harness();
    group.join('m1', [0]);
    await turn();
    group.held.joinBegins();
    group.join('m1', [0]);
    await turn();
    expect(group.told).toEqual(['assigned 0', 'revoked 0', 'assigned 0']);
  });

  it('says that it is rebalancing from the beginning of a join to its assignment', () => {
    const group = harness();
    expect(group.held.isRebalancing).toBe(false);
    group.held.joinBegins();
    expect(group.held.isRebalancing).toBe(true);
    group.held.joined('m1', []);
    expect(group.held.isRebalancing).toBe(false);
  });

  it('tries to take over again until the sink can, but only what is still held', async () => {
    const group = harness();
    group.sinkFails(2);
    group.join('m1', [0, 1]);
    await turn();
    group.join('m1', [1]);
    group.offer(1, '0');
    await turn();
    expect(group.handed).toEqual([]);
    group.pauseOver();
    await turn();
    group.pauseOver();
    await turn();
    expect(group.told).toEqual(['assigned 0,1', 'assigned 1', 'assigned 1', 'revoked 0']);
    expect(group.handed).toEqual(['1/0']);
  });

  it('tells the rounds one after the other, however fast they come', async () => {
    const group = harness();
    const ready = group.sinkWaits();
    group.join('m1', [0]);
    await turn();
    group.join('m1', [1]);
    await turn();
    expect(group.told).toEqual(['assigned 0']);
    ready();
    await turn();
    expect(group.told).toEqual(['assigned 0', 'revoked 0', 'assigned 1']);
  });

  it('tells a loss at once, also while another partition waits for the store', async () => {
    const group = harness();
    group.join('m1', [0, 1]);
    await turn();
    group.sinkWaits();
    group.join('m1', [0, 1, 2]);
    await turn();
    group.join('m1', [1, 2]);
    expect(group.lost).toEqual(['0']);
    await turn();
    expect(group.told).toEqual(['assigned 0,1', 'assigned 2', 'revoked 0']);
  });

  it('takes over only while the standing is good, and nothing that was lost before it was', async () => {
    const group = harness();
    group.setStanding(false);
    group.join('m1', [0]);
    group.join('m1', [0, 1]);
    await turn();
    expect(group.told).toEqual([]);
    group.join('m1', [1]);
    await turn();
    group.setStanding(true);
    await turn();
    expect(group.told).toEqual(['assigned 1', 'revoked 0']);
  });

  it('gives up what it never took over when the group is left', async () => {
    const group = harness();
    group.setStanding(false);
    group.join('m1', [0]);
    await turn();
    await group.held.leave();
    expect(group.told).toEqual(['revoked 0']);
  });

  it('gives everything up when the group is left', async () => {
    const group = harness();
    group.join('m1', [3]);
    await turn();
    await group.held.leave();
    expect(group.told).toEqual(['assigned 3', 'revoked 3']);
    expect(group.held.partitions).toEqual([]);
  });
});

function harness() {
  const told: string[] = [];
  const lost: string[] = [];
  const listeners = new Set<() => void>();
  let isGood = true;
  const handed: string[] = [];
  let blocked: Promise<void> = Promise.resolve();
  let failures = 0;
  let endPause: (() => void) | undefined;
  const silent = () => {};
  const held = new HeldPartitions({
    sink: {
      take: async () => undefined,
      partitionsAssigned: async (partitions) => {
        told.push(`assigned ${partitions}`);
        if (failures-- > 0) throw new Error('the store is away');
        await blocked;
      },
      partitionsRevoked: async (partitions) => {
        told.push(`revoked ${partitions}`);
      },
    },
    createIntake: (partition) =>
      new PartitionIntake<CommandRecord>({
        delayMs: 0,
        handle: async ({ offset }) => {
          handed.push(`${partition}/${offset}`);
        },
        onFinished: silent,
        onRoom: silent,
        onFailure: silent,
        now: () => 0,
        pause: async () => undefined,
      }),
    standing: {
      get isGood() {
        return isGood;
      },
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    onLost: (partitions) => lost.push(String(partitions)),
    log: { debug: silent, info: silent, warn: silent, error: silent },
    pause: () => new Promise((resolve) => (endPause = resolve)),
    signal: new AbortController().signal,
  });
  return {
    held,
    told,
    lost,
    handed,
    join: (memberId: string, partitions: readonly number[]) => {
      held.joinBegins();
      held.joined(memberId, partitions);
    },
    offer: (partition: number, offset: string) =>
      held.intake(partition)?.offer([{ key: null, value: Buffer.from('{}'), offset, timestamp: '0' }]),
    sinkWaits: () => {
      const gate = Promise.withResolvers<void>();
      blocked = gate.promise;
      return gate.resolve;
    },
    sinkFails: (times: number) => {
      failures = times;
    },
    setStanding: (good: boolean) => {
      isGood = good;
      for (const listener of [...listeners]) listener();
    },
    pauseOver: () => endPause?.(),
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
