import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StartProblem } from '../../../../sandbox/container/held-container.ts';
import { ContainerPool, type PoolContainerEvents, type PoolJob } from '../../../../sandbox/container/pool.ts';
import type { QueueTicket } from '../../../../sandbox/steps/turn-queue.ts';

/** A container driven by hand. */
class FakeContainer {
  readonly id: number;
  readonly key: string;
  readonly #events: PoolContainerEvents;
  phase: 'starting' | 'ready' | 'used' | 'closing' | 'gone' = 'starting';

  constructor(id: number, key: string, events: PoolContainerEvents) {
    this.id = id;
    this.key = key;
    this.#events = events;
  }

  get isReady(): boolean {
    return this.phase === 'ready';
  }

  async close(): Promise<void> {
    if (this.phase !== 'gone') this.phase = 'closing';
  }

  ready(): void {
    this.phase = 'ready';
    this.#events.onReady();
  }

  gone(problem?: StartProblem): void {
    if (this.phase === 'gone') return;
    this.phase = 'gone';
    this.#events.onGone(problem);
  }
}

interface Shape {
  readonly key: string;
  readonly policyHash: string;
}
type Job = PoolJob<Shape, FakeContainer>;

function makePool(options: { max?: number; ahead?: number; maxStarting?: number; maxWaiting?: number } = {}) {
  const containers: FakeContainer[] = [];
  const running: { name: string; container: FakeContainer; done(): void }[] = [];
  const refused: { name: string; message: string }[] = [];
  const clock = { ms: 0 };
  const pool = new ContainerPool<Shape, FakeContainer>({
    maxContainers: options.max ?? 8,
    ahead: options.ahead ?? 0,
    maxStarting: options.maxStarting ?? 8,
    ...(options.maxWaiting === undefined ? {} : { maxWaiting: options.maxWaiting }),
    now: () => clock.ms,
    make: ({ key }, events) => {
      const container = new FakeContainer(containers.length + 1, key, events);
      containers.push(container);
      return container;
    },
  });
  let names = 0;
  const submit = ({ key = 'k', policy = 'p1', ...changes }: Partial<Job> & { key?: string; policy?: string } = {}) => {
    const domain = changes.domain ?? 'a';
    const name = `${domain}${++names}`;
    const holder: { ticket?: QueueTicket } = {};
    const ticket = pool.submit({
      domain,
      concurrent: 4,
      shape: { key, policyHash: policy },
      ...changes,
      start: (container) => {
        if (container.phase !== 'ready') throw new Error(`container ${container.id} is ${container.phase}`);
        if (container.key !== key) throw new Error('a container of another shape');
        container.phase = 'used';
        const entry = {
          name,
          container,
          done: () => {
            running.splice(running.indexOf(entry), 1);
            holder.ticket?.done();
            container.gone();
          },
        };
        running.push(entry);
      },
      refuse: (_code, message) => refused.push({ name, message }),
    });
    holder.ticket = ticket;
    return ticket;
  };
  const live = (phase?: FakeContainer['phase']) =>
    containers.filter((one) => (phase === undefined ? one.phase !== 'gone' : one.phase === phase));
  const readyAll = (): void => {
    for (const container of containers) if (container.phase === 'starting') container.ready();
  };
  const sweepClosing = (): void => {
    for (const container of live('closing')) container.gone();
  };
  const names_ = () => running.map(({ name }) => name);
  return { pool, containers, running, refused, clock, submit, live, readyAll, sweepClosing, names: names_ };
}

describe('the container pool', () => {
  it('makes a container for a job, and gives it the job when it is ready', () => {
    const { submit, names, containers, readyAll } = makePool();
    submit();
    expect([names(), containers.length]).toEqual([[], 1]);
    readyAll();
    expect(names()).toEqual(['a1']);
  });

  it('makes nothing before the first job', () => {
    const { pool, containers } = makePool({ ahead: 2 });
    pool.tick();
    expect(containers).toHaveLength(0);
  });

  it('uses a container once', () => {
    const { submit, running, readyAll, containers } = makePool();
    submit();
    readyAll();
    running[0]?.done();
    submit();
    readyAll();
    expect(containers.map(({ phase }) => phase)).toEqual(['gone', 'used']);
  });

  it('keeps some ready ahead for a key in use', () => {
    const { pool, submit, readyAll, live, running } = makePool({ ahead: 2 });
    submit();
    readyAll();
    pool.tick();
    readyAll();
    expect(live('ready')).toHaveLength(2);
    submit();
    expect(running.map(({ name }) => name)).toEqual(['a1', 'a2']);
    expect([live('ready').length, live('starting').length]).toEqual([1, 0]);
  });

  it('makes the next one when a step has ended, not while it begins', () => {
    const { submit, readyAll, live, running } = makePool({ ahead: 1 });
    submit();
    readyAll();
    expect(live('starting')).toHaveLength(0);
    running[0]?.done();
    expect(live('starting')).toHaveLength(1);
  });

  it('fills up at the next tick behind a step that runs on', () => {
    const { pool, submit, readyAll, live } = makePool({ ahead: 1 });
    submit();
    readyAll();
    pool.tick();
    expect(live('starting')).toHaveLength(1);
  });

  it('makes what a job waits for before anything ahead', () => {
    const { submit, live } = makePool({ ahead: 2 });
    submit();
    expect(live('starting')).toHaveLength(1);
  });

  it('never gives a job a container of another shape', () => {
    const { pool, submit, readyAll, names, live } = makePool({ ahead: 1 });
    submit({ key: 'k1' });
    readyAll();
    pool.tick();
    readyAll();
    submit({ key: 'k2' });
    expect(names()).toEqual(['a1']);
    expect(live('starting').map(({ key }) => key)).toEqual(['k2']);
  });

  it('never has more than its cap, those on their way out included', () => {
    const { submit, readyAll, live, running } = makePool({ max: 4, ahead: 2 });
    for (const domain of ['a', 'b', 'c', 'd', 'e']) submit({ domain });
    readyAll();
    expect(live()).toHaveLength(4);
    running[0]?.done();
    readyAll();
    expect(live()).toHaveLength(4);
  });

  it('makes room for another shape where one waits that nobody asks for', () => {
    const { submit, readyAll, live, names, sweepClosing, running } = makePool({ max: 2, ahead: 2 });
    submit({ key: 'k1' });
    readyAll();
    running[0]?.done();
    readyAll();
    expect(live('ready').map(({ key }) => key)).toEqual(['k1', 'k1']);
    submit({ key: 'k2', domain: 'b' });
    expect(live('closing')).toHaveLength(1);
    sweepClosing();
    readyAll();
    expect(names()).toEqual(['b2']);
  });

  it('runs no more steps of a domain than its rule allows', () => {
    const { submit, readyAll, names, running } = makePool();
    for (let i = 0; i < 3; i++) submit({ concurrent: 2 });
    readyAll();
    expect(names()).toEqual(['a1', 'a2']);
    running[0]?.done();
    readyAll();
    expect(names()).toEqual(['a2', 'a3']);
  });

  it('leaves half of all places to others, however much one domain asks for', () => {
    const { submit, readyAll, names } = makePool({ max: 4 });
    for (let i = 0; i < 10; i++) submit({ concurrent: 100 });
    readyAll();
    expect(names()).toEqual(['a1', 'a2']);
    submit({ domain: 'b' });
    readyAll();
    expect(names()).toEqual(['a1', 'a2', 'b11']);
  });

  it('serves domains in turn: one with a hundred steps does not hold up one with a single step', () => {
    const { submit, readyAll, names, running } = makePool({ max: 2 });
    for (let i = 0; i < 100; i++) submit({ domain: 'a' });
    readyAll();
    submit({ domain: 'b' });
    readyAll();
    expect(names()).toEqual(['a1', 'b101']);
    running[0]?.done();
    readyAll();
    expect(names()).toContain('a2');
  });

  it('takes a job back that has not started, and does not run it later', () => {
    const { submit, readyAll, names } = makePool();
    const ticket = submit();
    expect([ticket.withdraw(), ticket.withdraw()]).toEqual([true, false]);
    readyAll();
    expect(names()).toEqual([]);
    submit();
    expect(names()).toEqual(['a2']);
  });

  it('refuses a job beyond its queue, and every job once it is closed', async () => {
    const { pool, submit, refused } = makePool({ maxWaiting: 1 });
    submit();
    submit();
    expect(refused).toEqual([{ name: 'a2', message: expect.stringContaining('too many steps waiting') }]);
    void pool.close();
    submit();
    expect(refused.map(({ name }) => name)).toEqual(['a2', 'a1', 'a3']);
  });
});

describe('a container that does not start', () => {
  it('is tried again, and after three times its jobs are told why', () => {
    const { submit, live, refused, names, readyAll } = makePool();
    submit();
    submit({ key: 'other' });
    readyAllOf('other');
    for (let i = 0; i < 3; i++) live('starting')[0]?.gone({ kind: 'unlucky', text: 'no Hello' });
    expect(refused).toEqual([{ name: 'a1', message: 'no Hello' }]);
    expect(names()).toEqual(['a2']);
    readyAll();

    function readyAllOf(key: string): void {
      for (const one of live('starting')) if (one.key === key) one.ready();
    }
  });

  it('ends the jobs of its shape at once when another try would end alike', () => {
    const { submit, live, refused } = makePool();
    submit();
    submit({ key: 'other' });
    live('starting')[0]?.gone({ kind: 'shape', text: 'Docker did not apply HostConfig.Memory' });
    expect(refused).toEqual([{ name: 'a1', message: 'Docker did not apply HostConfig.Memory' }]);
  });

  it('ends all waiting jobs when Docker is gone', () => {
    const { submit, live, refused } = makePool();
    submit();
    submit({ key: 'other', domain: 'b' });
    live('starting')[0]?.gone({ kind: 'docker', text: 'Docker does not answer' });
    expect(refused.map(({ name }) => name).sort()).toEqual(['a1', 'b2']);
  });

  it('is not made ahead again until one of its shape has started', () => {
    const { pool, submit, live, containers } = makePool({ ahead: 2 });
    submit();
    live('starting')[0]?.gone({ kind: 'shape', text: 'no' });
    pool.tick();
    expect(containers).toHaveLength(1);
  });
});

describe('containers that wait', () => {
  function withTwoAhead() {
    const world = makePool({ ahead: 2 });
    world.submit();
    world.readyAll();
    world.running[0]?.done();
    world.readyAll();
    expect(world.live('ready')).toHaveLength(2);
    return world;
  }

  it('are renewed when they are old', () => {
    const { pool, clock, live, sweepClosing, readyAll } = withTwoAhead();
    clock.ms = 121_000;
    pool.tick();
    expect(live('closing')).toHaveLength(2);
    sweepClosing();
    readyAll();
    expect(live('ready')).toHaveLength(2);
  });

  it('shrink away when nobody asks for their shape any more', () => {
    const { pool, clock, live, sweepClosing } = withTwoAhead();
    clock.ms = 301_000;
    pool.tick();
    sweepClosing();
    pool.tick();
    expect([live().length, pool.figures.keys]).toEqual([0, 0]);
  });

  it('are dropped with the policy they were made for, those on their way too', () => {
    const { pool, live, submit, readyAll, sweepClosing } = withTwoAhead();
    submit();
    pool.tick();
    expect([live('ready').length, live('starting').length]).toEqual([1, 1]);
    pool.keepOnly('p2');
    expect(live('ready')).toHaveLength(0);
    readyAll();
    sweepClosing();
    expect(live().map(({ phase }) => phase)).toEqual(['used']);
  });

  it('of the old policy are still made for a step that was admitted under it', () => {
    const { pool, submit, readyAll, names, live } = makePool({ ahead: 2 });
    pool.keepOnly('p2');
    submit({ policy: 'p1' });
    readyAll();
    expect(names()).toEqual(['a1']);
    expect(live('starting')).toHaveLength(0);
  });

  it('that died are not given to anybody', () => {
    const { live, submit, names } = withTwoAhead();
    for (const one of live('ready')) one.phase = 'closing';
    submit();
    expect(names()).toEqual([]);
  });
});

describe('whatever happens in whatever order', () => {
  it('the cap holds, every job gets one answer, and no job waits while there is a place for it', () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({
          do: fc.constant('submit' as const),
          domain: fc.constantFrom('a', 'b', 'c'),
          key: fc.constantFrom('k', 'l'),
        }),
        fc.record({ do: fc.constantFrom('ready', 'fail', 'done', 'withdraw', 'sweep', 'tick', 'reload') }),
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 3 }), (all, max, ahead) => {
        const world = makePool({ max, ahead, maxStarting: 2 });
        const tickets: QueueTicket[] = [];
        let withdrawn = 0;
        for (const step of all) {
          if (step.do === 'submit') tickets.push(world.submit(step));
          else if (step.do === 'ready') world.live('starting')[0]?.ready();
          else if (step.do === 'fail') world.live('starting')[0]?.gone({ kind: 'unlucky', text: 'x' });
          else if (step.do === 'done') world.running[0]?.done();
          else if (step.do === 'withdraw') withdrawn += tickets.at(-1)?.withdraw() ? 1 : 0;
          else if (step.do === 'sweep') world.sweepClosing();
          else if (step.do === 'tick') world.pool.tick();
          else world.pool.keepOnly('p2');
          if (world.live().length > max) return false;
        }
        for (let i = 0; i < 500 && world.names().length + world.pool.figures.waiting > 0; i++) {
          world.readyAll();
          world.sweepClosing();
          world.running[0]?.done();
        }
        return world.pool.figures.waiting === 0 && world.running.length === 0 && withdrawn <= tickets.length;
      }),
    );
  });
});
