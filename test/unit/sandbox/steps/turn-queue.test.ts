import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type QueuedJob,
  type QueueOptions,
  type QueueTicket,
  TurnQueue,
} from '../../../../sandbox/steps/turn-queue.ts';

interface Job extends QueuedJob {
  readonly name: string;
  readonly wants: string;
}

/** Places by their name, each for one job. `at` tells where each job is. */
function makeQueue(options: QueueOptions = {}) {
  const queue = new TurnQueue<Job>(options);
  const free = new Set<string>();
  const started: string[] = [];
  const refused: string[] = [];
  const done: string[] = [];
  const submit = (name: string, changes: { concurrent?: number; wants?: string; isFirst?: boolean } = {}) => {
    const { concurrent = 4, wants = 'any', isFirst = false } = changes;
    const job: Job = {
      domain: name.slice(0, 1),
      concurrent,
      name,
      wants,
      refuse: (code, message) => refused.push(`${name} ${code} ${message}`),
    };
    return queue.submit(job, { isFirst, onDone: () => done.push(name) });
  };
  const dispatch = () =>
    queue.dispatch(
      ({ wants }) => [...free].find((place) => wants === 'any' || place === wants),
      ({ name }, place) => {
        free.delete(place);
        started.push(name);
      },
    );
  return { queue, free, started, refused, done, submit, dispatch };
}

describe('waiting steps', () => {
  it('are taken in turn over domains, and in order within one', () => {
    const { free, started, submit, dispatch } = makeQueue();
    for (const name of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) submit(name);
    for (let place = 0; place < 10; place++) free.add(`p${place}`);
    expect(dispatch()).toBe(true);
    expect(started).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
    expect(dispatch()).toBe(false);
  });

  it('keep their turn from one dispatch to the next', () => {
    const { free, started, submit, dispatch } = makeQueue();
    for (const name of ['a1', 'a2', 'b1', 'b2']) submit(name);
    for (let round = 0; round < 4; round++) {
      free.add('p');
      dispatch();
    }
    expect(started).toEqual(['a1', 'b1', 'a2', 'b2']);
  });

  it('run no more at a time than the rule of their domain allows', () => {
    const { queue, free, started, submit, dispatch } = makeQueue();
    const first = submit('a1', { concurrent: 1 });
    submit('a2', { concurrent: 1 });
    for (const place of ['p1', 'p2']) free.add(place);
    dispatch();
    expect(started).toEqual(['a1']);
    expect(queue.turns).toMatchObject([{ domain: 'a', running: 1, startable: [], lastServed: 1 }]);
    first.done();
    dispatch();
    expect(started).toEqual(['a1', 'a2']);
  });

  it('run no more at a time than the pool grants to any domain', () => {
    const { free, started, submit, dispatch } = makeQueue({ maxRunning: 2 });
    for (const name of ['a1', 'a2', 'a3', 'b1']) submit(name);
    for (const place of ['p1', 'p2', 'p3', 'p4']) free.add(place);
    dispatch();
    expect(started).toEqual(['a1', 'b1', 'a2']);
  });

  it.each([
    [true, ['a2']],
    [false, []],
  ])('overtake an older one that finds no place only where the pool lets them (%s)', (mayOvertake, expected) => {
    const { free, started, submit, dispatch } = makeQueue({ mayOvertake });
    submit('a1', { wants: 'special' });
    submit('a2');
    free.add('plain');
    dispatch();
    expect(started).toEqual(expected);
  });

  it('that waited before go before the others of their domain', () => {
    const { free, started, submit, dispatch } = makeQueue();
    submit('a1');
    submit('a2', { isFirst: true });
    free.add('p');
    dispatch();
    expect(started).toEqual(['a2']);
  });

  it('are bounded', () => {
    const { queue, refused, submit } = makeQueue({ maxWaiting: 2 });
    for (const name of ['a1', 'b1', 'c1']) submit(name);
    expect(refused).toEqual(['c1 SANDBOX_UNAVAILABLE the sandbox host has too many steps waiting; try again later']);
    expect(queue.waiting).toBe(2);
  });

  it('can be withdrawn until they start', () => {
    const { queue, free, submit, dispatch } = makeQueue();
    const [first, second] = [submit('a1'), submit('a2')];
    free.add('p');
    dispatch();
    expect([first.withdraw(), second.withdraw(), second.withdraw()]).toEqual([false, true, false]);
    expect(queue.waiting).toBe(0);
  });

  it('are refused by name, once', () => {
    const { queue, refused, submit } = makeQueue();
    const ticket = submit('a1');
    submit('b1');
    queue.refuse(({ domain }) => domain === 'a', 'no');
    queue.refuse(({ domain }) => domain === 'a', 'no');
    expect(refused).toEqual(['a1 SANDBOX_UNAVAILABLE no']);
    expect(ticket.withdraw()).toBe(false);
  });

  it('are refused at the end, and so is what comes later', () => {
    const { queue, refused, submit } = makeQueue();
    submit('a1');
    queue.close();
    submit('a2');
    const why = 'SANDBOX_UNAVAILABLE the sandbox host is shutting down';
    expect(refused).toEqual([`a1 ${why}`, `a2 ${why}`]);
  });
});

describe('a ticket', () => {
  it('tells once that a step has left its place, and not of one that never started', () => {
    const { queue, free, done, submit, dispatch } = makeQueue();
    const [first, second] = [submit('a1'), submit('a2')];
    free.add('p');
    dispatch();
    for (const ticket of [first, first, second]) ticket.done();
    expect(done).toEqual(['a1']);
    expect([queue.running, queue.waiting]).toEqual([0, 1]);
  });

  it('can be used while its step starts', () => {
    const queue = new TurnQueue<QueuedJob>();
    const holder: { ticket?: QueueTicket } = {};
    const job = { domain: 'a', concurrent: 1, refuse: () => {} };
    holder.ticket = queue.submit(job, { onDone: () => {} });
    queue.dispatch(
      () => 'place',
      () => holder.ticket?.done(),
    );
    expect([queue.running, queue.waiting, queue.turns]).toEqual([0, 0, []]);
  });
});

describe('in any order of events', () => {
  it('every step is started, withdrawn or refused once, and nothing is left behind', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('submit'), n: fc.integer({ min: 0, max: 2 }) }),
      fc.record({ do: fc.constantFrom('place', 'withdraw', 'done', 'refuse'), n: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, mayOvertake) => {
        const { queue, free, started, refused, submit, dispatch } = makeQueue({
          maxWaiting: 5,
          maxRunning: 2,
          mayOvertake,
        });
        const tickets: QueueTicket[] = [];
        let withdrawn = 0;
        for (const { do: what, n } of steps) {
          if (what === 'submit') tickets.push(submit(`${'abc'[n]}${tickets.length}`));
          else if (what === 'place') free.add(`p${n}`);
          else if (what === 'withdraw') withdrawn += tickets[n]?.withdraw() ? 1 : 0;
          else if (what === 'done') tickets[n]?.done();
          else queue.refuse(({ name }) => name.endsWith(String(n)), 'no');
          dispatch();
          for (const { running } of queue.turns) expect(running).toBeLessThanOrEqual(2);
          expect(started.length + refused.length + withdrawn + queue.waiting).toBe(tickets.length);
        }
        queue.close();
        for (const ticket of tickets) ticket.done();
        expect([queue.running, queue.waiting, queue.turns]).toEqual([0, 0, []]);
        expect(new Set(started).size).toBe(started.length);
      }),
    );
  });
});
