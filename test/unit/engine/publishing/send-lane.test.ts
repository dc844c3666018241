import {
  MAX_BATCH_BYTES,
  MAX_BATCH_RECORDS,
  MAX_WAITING_BYTES,
  type OutgoingRecord,
  SendLane,
} from '@flowops/engine/publishing/send-lane.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('SendLane', () => {
  it('sends one request at a time; what arrives meanwhile goes into the next', async () => {
    const lane = harness();
    const calls = [lane.add('a'), lane.add('b', 'c'), lane.add('d')];
    await turn();
    expect(lane.requests).toEqual([['a', 'b', 'c', 'd']]);
    calls.push(lane.add('e'), lane.add('f'));
    await turn();
    expect(lane.requests).toHaveLength(1);
    await lane.acknowledge();
    expect(lane.requests[1]).toEqual(['e', 'f']);
    await lane.acknowledge();
    await Promise.all(calls);
  });

  it('resolves a call when its last record is acknowledged, not before', async () => {
    const lane = harness();
    const isDone = watch(lane.add(...Array.from({ length: MAX_BATCH_RECORDS + 1 }, (_, i) => String(i))));
    await turn();
    await lane.acknowledge();
    expect(isDone()).toBe(false);
    await lane.acknowledge();
    expect(isDone()).toBe(true);
  });

  it('repeats a failed batch as it was before anything behind it', async () => {
    const lane = harness();
    void lane.add('a', 'b');
    await turn();
    void lane.add('c');
    for (const failures of [1, 2, 3]) {
      await lane.fail('away');
      expect(lane.failures).toBe(failures);
      await lane.pauseOver();
    }
    await lane.acknowledge();
    await lane.acknowledge();
    expect(lane.requests).toEqual([...Array.from({ length: 4 }, () => ['a', 'b']), ['c']]);
  });

  it('keeps a request below the limit of the broker', async () => {
    const lane = harness();
    const large = 'x'.repeat(MAX_BATCH_BYTES / 2);
    void lane.add(large, large, large);
    await turn();
    await lane.acknowledge();
    await lane.acknowledge();
    expect(lane.requests.map((records) => records.length)).toEqual([1, 1, 1]);
  });

  it('finds the record that is too large, sends it smaller, and loses no other', async () => {
    const lane = harness({ largest: 10 });
    const all = Promise.all([lane.add('a', 'b'), lane.add('z'.repeat(50)), lane.add('c')]);
    await turn();
    await lane.acknowledgeAll();
    await all;
    expect(lane.taken).toEqual(['a', 'b', 'small', 'c']);
    expect(lane.givenUp).toBe(0);
  });

  it('gives a record up that cannot be made smaller, and goes on behind it', async () => {
    const lane = harness({ largest: 10, cannotShrink: true });
    const all = Promise.all([lane.add('z'.repeat(50)), lane.add('c')]);
    await turn();
    await lane.acknowledgeAll();
    await all;
    expect(lane.taken).toEqual(['c']);
    expect(lane.givenUp).toBe(1);
  });

  it('lets callers wait while too much is waiting, and takes them in their order', async () => {
    const lane = harness();
    const half = 'x'.repeat(MAX_WAITING_BYTES / 2);
    void lane.add('first');
    await turn();
    void lane.add(half);
    void lane.add(half);
    void lane.add('held back 1');
    void lane.add('held back 2');
    await turn();
    for (let i = 0; i < 3; i++) await lane.acknowledge();
    await lane.acknowledgeAll();
    expect(lane.taken.map((text) => text.slice(0, 11))).toEqual([
      'first',
      ...[half, half].map((text) => text.slice(0, 11)),
      'held back 1',
      'held back 2',
    ]);
    expect(lane.requests.at(-1)?.at(-1)).toBe('held back 2');
  });

  it('rejects what is not acknowledged when it is closed, and takes nothing more', async () => {
    const lane = harness();
    const waiting = [lane.add('a'), lane.add('b')];
    await turn();
    waiting.push(lane.add('c'));
    const results = Promise.allSettled(waiting);
    lane.close();
    await lane.fail('away');
    expect((await results).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await expect(lane.add('d')).rejects.toThrow('closed');
    expect(lane.requests).toHaveLength(1);
  });

  it('sends nothing while the standing is not good, and everything in order when it is again', async () => {
    const lane = harness();
    lane.setStanding(false);
    const all = Promise.all([lane.add('a'), lane.add('b')]);
    await turn();
    expect(lane.requests).toEqual([]);
    lane.setStanding(true);
    await turn();
    expect(lane.requests).toEqual([['a', 'b']]);
    await lane.acknowledge();
    await all;
  });

  it('looks at the standing again before it repeats a batch', async () => {
    const lane = harness();
    void lane.add('a');
    await turn();
    lane.setStanding(false);
    await lane.fail('away');
    await lane.pauseOver();
    expect(lane.requests).toHaveLength(1);
    lane.setStanding(true);
    await turn();
    expect(lane.requests).toHaveLength(2);
  });

  it('drops what was said in the name of a lost home, also from a batch that is repeated, and nothing else', async () => {
    const lane = harness();
    const lost = Promise.allSettled([lane.addFor('1', 'a'), lane.addFor('1', 'b')]);
    const kept = lane.addFor('2', 'c');
    await turn();
    const lostToo = Promise.allSettled([lane.addFor('1', 'd')]);
    const keptToo = lane.addFor('2', 'e');
    lane.drop('1');
    expect([...(await lost), ...(await lostToo)].map(({ status }) => status)).toEqual(Array(3).fill('rejected'));
    await lane.fail('away');
    await lane.pauseOver();
    await lane.acknowledgeAll();
    await Promise.all([kept, keptToo]);
    expect(lane.requests).toEqual([['a', 'b', 'c'], ['c'], ['e']]);
    expect(lane.taken).toEqual(['c', 'e']);
  });

  it('says of a call whether something of it was given up', async () => {
    const lane = harness({ largest: 10, cannotShrink: true });
    const results = Promise.all([lane.add('a', 'z'.repeat(50), 'b'), lane.add('c')]);
    await turn();
    await lane.acknowledgeAll();
    expect(await results).toEqual(['given-up', 'sent']);
  });

  it('has every record acknowledged once and in order, whatever fails when', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }), { maxLength: 30 }),
        fc.infiniteStream(fc.nat(3)),
        async (calls, fates) => {
          const lane = harness({ largest: 60 });
          const expected = calls.flatMap((sizes, call) => sizes.map((size, i) => `${call}.${i}`.padEnd(size, '_')));
          let index = 0;
          const all = Promise.all(calls.map((sizes) => lane.add(...sizes.map(() => expected[index++] ?? ''))));
          const isDone = watch(all);
          for (await turn(); !isDone(); await turn()) {
            if (fates.next().value === 0) await lane.fail('away');
            else await lane.acknowledge();
            await lane.pauseOver();
          }
          expect(lane.taken).toEqual(expected);
        },
      ),
      { numRuns: 50 },
    );
  });
});

interface Request {
  readonly texts: readonly string[];
  readonly answer: PromiseWithResolvers<void>;
}

function harness(options: { largest?: number; cannotShrink?: boolean } = {}) {
  const requests: Request[] = [];
  const taken: string[] = [];
  let answered = 0;
  let endPause: (() => void) | undefined;
  const state = { failures: 0, givenUp: 0, isGood: true };
  const listeners = new Set<() => void>();
  const lane = new SendLane({
    send: (records) => {
      const request = { texts: records.map(textOf), answer: Promise.withResolvers<void>() };
      requests.push(request);
      return request.answer.promise;
    },
    judge: (thrown) => (thrown instanceof Error && thrown.message === 'too large' ? 'too-large' : 'try-again'),
    shrink: (record) => (options.cannotShrink === true ? undefined : { ...record, value: Buffer.from('small') }),
    onFailure: (_thrown, failures) => {
      state.failures = failures;
    },
    onSuccess: () => {},
    onGivenUp: () => state.givenUp++,
    closed: () => new Error('closed'),
    standing: {
      get isGood() {
        return state.isGood;
      },
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    pause: (_ms, signal) => (signal.aborted ? Promise.resolve() : new Promise((resolve) => (endPause = resolve))),
  });
  const answer = async (settle: (request: Request) => void): Promise<void> => {
    const request = requests[answered];
    if (request === undefined) return;
    answered++;
    settle(request);
    await turn();
  };
  const acknowledge = () =>
    answer(({ texts, answer }) => {
      const bytes = texts.reduce((sum, text) => sum + text.length, 0);
      if (options.largest !== undefined && bytes > options.largest) return answer.reject(new Error('too large'));
      taken.push(...texts);
      answer.resolve();
    });
  return {
    taken,
    get requests() {
      return requests.map(({ texts }) => texts);
    },
    get failures() {
      return state.failures;
    },
    get givenUp() {
      return state.givenUp;
    },
    add: (...texts: readonly string[]) => lane.add(texts.map((text) => ({ key: null, value: Buffer.from(text) }))),
    addFor: (home: string, text: string) => lane.add([{ key: null, value: Buffer.from(text) }], home),
    drop: (home: string) => lane.drop(new Set([home])),
    setStanding: (isGood: boolean) => {
      state.isGood = isGood;
      for (const listener of [...listeners]) listener();
    },
    close: () => lane.close(),
    acknowledge,
    acknowledgeAll: async () => {
      while (answered < requests.length) await acknowledge();
    },
    fail: (message: string) => answer(({ answer }) => answer.reject(new Error(message))),
    pauseOver: async () => {
      endPause?.();
      await turn();
    },
  };
}

function textOf({ value }: OutgoingRecord): string {
  return value?.toString() ?? '';
}

function watch(promise: Promise<unknown>): () => boolean {
  let isDone = false;
  void promise.then(() => {
    isDone = true;
  });
  return () => isDone;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
