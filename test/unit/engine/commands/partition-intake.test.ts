import {
  type IntakeRecord,
  MAX_IN_FLIGHT,
  PAUSE_ABOVE_BYTES,
  PartitionIntake,
} from '@flowops/engine/commands/partition-intake.ts';
import { describe, expect, it } from 'vitest';

describe('PartitionIntake', () => {
  it('hands nothing on before it is opened, then in the order of the offsets', () => {
    const intake = harness();
    intake.offer(0, 3);
    expect(intake.handed).toEqual([]);
    intake.intake.open();
    expect(intake.handed).toEqual(['0', '1', '2']);
  });

  it('hands on a bounded number at once and goes on as they finish', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, MAX_IN_FLIGHT + 10);
    expect(intake.handed).toHaveLength(MAX_IN_FLIGHT);
    await intake.finish('0');
    expect(intake.handed).toHaveLength(MAX_IN_FLIGHT + 1);
    expect(intake.handed.at(-1)).toBe(String(MAX_IN_FLIGHT));
  });

  it('commits only what is finished without a gap', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, 3);
    await intake.finish('1');
    expect(intake.intake.committable()).toBeUndefined();
    await intake.finish('0');
    expect(intake.intake.committable()).toBe(2n);
    intake.intake.confirm(2n);
    expect(intake.intake.committable()).toBeUndefined();
  });

  it('offers an offset for committing again until the broker has confirmed it', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, 1);
    await intake.finish('0');
    expect(intake.intake.committable()).toBe(1n);
    expect(intake.intake.committable()).toBe(1n);
  });

  it('asks to be paused when too much is read ahead, and for more when it was worked off', async () => {
    const intake = harness();
    const value = Buffer.alloc(PAUSE_ABOVE_BYTES / 2);
    expect(intake.intake.offer([record(0, value)])).toBe('more');
    expect(intake.intake.offer([record(1, value), record(2, value)])).toBe('full');
    expect(intake.rooms).toBe(0);
    intake.intake.open();
    expect(intake.rooms).toBe(1);
    for (const offset of ['0', '1', '2']) await intake.finish(offset);
    expect(intake.rooms).toBe(1);
  });

  it('hands nothing further on after a failure until what failed was taken, in the order of the offsets', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, 3);
    await intake.fail('2');
    await intake.fail('0');
    intake.offer(3, 1);
    expect(intake.handed).toEqual(['0', '1', '2']);
    await intake.pauseOver();
    expect(intake.handed).toEqual(['0', '1', '2', '0', '2']);
    await intake.finish('0');
    expect(intake.handed).toHaveLength(5);
    await intake.finish('2');
    expect(intake.handed.slice(5)).toEqual(['3']);
    await intake.finish('1');
    await intake.finish('3');
    expect(intake.intake.committable()).toBe(4n);
  });

  it('tries again and again, each time after a pause', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, 1);
    for (let round = 1; round <= 4; round++) {
      await intake.fail('0');
      expect(intake.failures).toBe(round);
      await intake.pauseOver();
      expect(intake.handed).toHaveLength(round + 1);
    }
    await intake.finish('0');
    expect(intake.intake.committable()).toBe(1n);
  });

  it('hands on once what is read again because the group came together again', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(5, 3);
    await intake.finish('5');
    intake.offer(5, 4);
    expect(intake.handed).toEqual(['5', '6', '7', '8']);
  });

  it('reads everything again when the topic was made anew', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(100, 2);
    await intake.finish('100');
    intake.offer(0, 2);
    expect(intake.handed).toEqual(['100', '101', '0', '1']);
    await intake.finish('0');
    await intake.finish('101');
    expect(intake.intake.committable()).toBe(1n);
  });

  it('hands nothing on and commits nothing once the partition is lost', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, MAX_IN_FLIGHT + 1);
    intake.intake.end();
    const finished = intake.finishedCalls;
    await intake.finish('0');
    expect(intake.handed).toHaveLength(MAX_IN_FLIGHT);
    expect(intake.finishedCalls).toBe(finished);
  });

  it('lets what is in flight end after it was stopped, and tells when that is over', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, 2);
    intake.intake.stop();
    intake.offer(2, 1);
    let isIdle = false;
    const idle = intake.intake.idle().then(() => {
      isIdle = true;
    });
    await intake.finish('0');
    expect(isIdle).toBe(false);
    await intake.finish('1');
    await idle;
    expect(intake.handed).toEqual(['0', '1']);
    expect(intake.intake.committable()).toBe(2n);
  });

  it('does not commit past a command that failed while it was being stopped', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, 2);
    intake.intake.stop();
    await intake.fail('0');
    await intake.finish('1');
    expect(intake.intake.committable()).toBeUndefined();
  });

  it('hands nothing on while it may not, also not again what failed, and goes on in order', async () => {
    const intake = harness();
    intake.intake.open();
    intake.offer(0, 1);
    intake.holdBack();
    intake.offer(1, 2);
    await intake.fail('0');
    await intake.pauseOver();
    expect(intake.handed).toEqual(['0']);
    intake.letGo();
    await intake.pauseOver();
    await intake.finish('0');
    expect(intake.handed).toEqual(['0', '0', '1', '2']);
  });
});

function record(offset: number, value: Buffer = Buffer.from('{}')): IntakeRecord {
  return { offset: String(offset), value };
}

function harness() {
  const calls = new Map<string, PromiseWithResolvers<void>>();
  const handed: string[] = [];
  let endPause: (() => void) | undefined;
  const state = { rooms: 0, failures: 0, finishedCalls: 0, mayHandOn: true };
  const intake = new PartitionIntake<IntakeRecord>({
    delayMs: 0,
    handle: ({ offset }) => {
      handed.push(offset);
      const call = Promise.withResolvers<void>();
      calls.set(offset, call);
      return call.promise;
    },
    onFinished: () => state.finishedCalls++,
    onRoom: () => state.rooms++,
    onFailure: (_thrown, _record, failures) => {
      state.failures = failures;
    },
    now: () => 0,
    mayHandOn: () => state.mayHandOn,
    pause: () => new Promise((resolve) => (endPause = resolve)),
  });
  return {
    intake,
    handed,
    get rooms() {
      return state.rooms;
    },
    get failures() {
      return state.failures;
    },
    get finishedCalls() {
      return state.finishedCalls;
    },
    offer: (first: number, count: number) =>
      intake.offer(Array.from({ length: count }, (_, index) => record(first + index))),
    finish: (offset: string) => settle(() => calls.get(offset)?.resolve()),
    fail: (offset: string) => settle(() => calls.get(offset)?.reject(new Error('the store is away'))),
    pauseOver: () => settle(() => endPause?.()),
    holdBack: () => {
      state.mayHandOn = false;
    },
    letGo: () => {
      state.mayHandOn = true;
      intake.wake();
    },
  };
}

/** Does it and lets every promise that follows from it run. */
async function settle(action: () => void): Promise<void> {
  action();
  await new Promise((resolve) => setImmediate(resolve));
}
