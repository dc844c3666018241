import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { Confinement } from '../../../../sandbox/isolate/worker-body.ts';
import type { IsolateWorker, WorkerEvents } from '../../../../sandbox/isolate/worker-job.ts';
import { type PoolJob, WorkerPool } from '../../../../sandbox/isolate/worker-pool.ts';
import type { QueueTicket } from '../../../../sandbox/steps/turn-queue.ts';

/** A worker driven by hand. */
class FakeWorker implements IsolateWorker {
  readonly id: number;
  readonly events: WorkerEvents;
  readonly confinement: Confinement;
  phase: 'starting' | 'ready' | 'late' | 'closing' | 'ended' = 'starting';
  isSpent = false;
  jobs = 0;
  /** Domains of the jobs that ever ran here. */
  readonly domains = new Set<string>();
  #closed = Promise.withResolvers<void>();

  constructor(id: number, events: WorkerEvents, isJailed: boolean) {
    this.id = id;
    this.events = events;
    this.confinement = { kind: isJailed ? 'namespaces' : 'none' };
  }

  get takesSteps(): boolean {
    return this.phase === 'ready' && !this.isSpent;
  }

  run(): never {
    throw new Error('jobs of these tests are put in by hand');
  }

  close(): Promise<void> {
    if (this.phase !== 'ended') this.phase = 'closing';
    return this.#closed.promise;
  }

  ready(): void {
    this.phase = 'ready';
    this.events.onAvailable();
  }

  end(startProblem?: string): void {
    this.phase = 'ended';
    this.#closed.resolve();
    this.events.onEnded({ startProblem });
  }
}

interface Running {
  readonly name: string;
  readonly worker: FakeWorker;
  done(): void;
}

function makePool(options: { maxWorkers?: number; cores?: number; maxWaiting?: number; isJailed?: boolean } = {}) {
  const workers: FakeWorker[] = [];
  const running: Running[] = [];
  const refused: { name: string; code: string; message: string }[] = [];
  /** Names of the jobs that wait. */
  const waiting = new Set<string>();
  const onStartFailure = vi.fn(async () => {});
  const pool = new WorkerPool({
    maxWorkers: options.maxWorkers ?? 6,
    cores: options.cores ?? 2,
    ...(options.maxWaiting === undefined ? {} : { maxWaiting: options.maxWaiting }),
    spawn: (events) => {
      const worker = new FakeWorker(workers.length + 1, events, options.isJailed ?? true);
      workers.push(worker);
      return worker;
    },
    onStartFailure,
  });
  let names = 0;
  const submit = (changes: Partial<PoolJob> = {}): QueueTicket => {
    const name = `${changes.domain ?? 'a'}${++names}`;
    const holder: { ticket?: QueueTicket } = {};
    waiting.add(name);
    const ticket = pool.submit({
      domain: 'a',
      concurrent: 4,
      isAlone: false,
      needsJail: true,
      ...changes,
      start: (taken) => {
        const worker = workers.find(({ id }) => id === taken.id);
        if (worker === undefined) throw new Error('a worker of nobody');
        waiting.delete(name);
        worker.jobs++;
        worker.domains.add(changes.domain ?? 'a');
        const entry: Running = {
          name,
          worker,
          done: () => {
            running.splice(running.indexOf(entry), 1);
            worker.jobs--;
            holder.ticket?.done();
            worker.events.onRelease();
          },
        };
        running.push(entry);
      },
      refuse: (code, message) => {
        waiting.delete(name);
        refused.push({ name, code, message });
      },
    });
    holder.ticket = ticket;
    return ticket;
  };
  const readyAll = (): void => {
    for (const worker of workers) if (worker.phase === 'starting') worker.ready();
  };
  return {
    pool,
    workers,
    running,
    refused,
    submit,
    readyAll,
    onStartFailure,
    names: () => running.map(({ name }) => name),
    waitingDomains: () => [...new Set([...waiting].map((name) => name.replace(/\d+$/, '')))],
  };
}

describe('the worker pool', () => {
  it('starts one worker ahead, and gives it the first job at once', () => {
    const { pool, workers, submit, names } = makePool();
    pool.warmUp();
    workers[0]?.ready();
    submit();
    expect([workers.length, names()]).toEqual([1, ['a1']]);
  });

  it('lets a job wait for the worker that is on its way instead of starting a second', () => {
    const { pool, workers, submit, names } = makePool();
    pool.warmUp();
    submit();
    expect([workers.length, names()]).toEqual([1, []]);
    workers[0]?.ready();
    expect(names()).toEqual(['a1']);
  });

  it('never runs two trust domains in one worker', () => {
    const { workers, submit, running, readyAll } = makePool();
    submit({ domain: 'a' });
    readyAll();
    running[0]?.done();
    submit({ domain: 'b' });
    readyAll();
    expect(workers.map((worker) => [...worker.domains])).toEqual([['a'], ['b']]);
  });

  it('lets steps of one domain share a worker, and starts one for each core meanwhile', () => {
    const { workers, submit, readyAll, running } = makePool({ cores: 2 });
    submit();
    readyAll();
    submit();
    expect(running.map(({ worker }) => worker.id)).toEqual([1, 1]);
    expect(workers).toHaveLength(2);
    readyAll();
    submit();
    expect(running.map(({ worker }) => worker.id)).toEqual([1, 1, 2]);
  });

  it('runs no more steps of a domain than its rule allows', () => {
    const { submit, readyAll, names, running } = makePool();
    for (let i = 0; i < 3; i++) submit({ concurrent: 2 });
    readyAll();
    expect(names()).toEqual(['a1', 'a2']);
    running[0]?.done();
    expect(names()).toEqual(['a2', 'a3']);
  });

  it('lets a domain hold at most half of the workers', () => {
    const { workers, submit, readyAll } = makePool({ maxWorkers: 4, cores: 8 });
    for (let i = 0; i < 30; i++) {
      submit({ concurrent: 100 });
      readyAll();
    }
    expect(workers).toHaveLength(2);
    submit({ domain: 'b' });
    readyAll();
    expect(workers[2]?.domains).toEqual(new Set(['b']));
  });

  it('gives a domain without a worker the next place even when the others never rest', () => {
    const { workers, submit, readyAll, running, names } = makePool({ maxWorkers: 1, cores: 1 });
    submit({ domain: 'a' });
    readyAll();
    for (let i = 0; i < 5; i++) submit({ domain: 'a', concurrent: 1 });
    submit({ domain: 'b' });
    expect(names()).toEqual(['a1']);
    running[0]?.done();
    expect([names(), workers[0]?.phase]).toEqual([[], 'closing']);
    workers[0]?.end();
    readyAll();
    expect(names()[0]).toBe('b7');
  });

  it('evicts the least recently used idle worker of another domain when all places are taken', () => {
    const { workers, submit, readyAll, running, names } = makePool({ maxWorkers: 2, cores: 1 });
    submit({ domain: 'a' });
    readyAll();
    submit({ domain: 'b' });
    readyAll();
    running[0]?.done();
    running[0]?.done();
    submit({ domain: 'b' });
    running[0]?.done();
    submit({ domain: 'c' });
    expect(workers.map(({ phase }) => phase)).toEqual(['closing', 'ready']);
    workers[0]?.end();
    readyAll();
    expect(names()).toEqual(['c4']);
  });

  it('takes a worker that has become idle, and does not wait for one that was to go and is still busy', () => {
    const { workers, submit, readyAll, running, names } = makePool({ maxWorkers: 2, cores: 1 });
    submit({ domain: 'endless' });
    readyAll();
    submit({ domain: 'b' });
    readyAll();
    submit({ domain: 'c' });
    expect(workers.map(({ phase }) => phase)).toEqual(['ready', 'ready']);
    running[1]?.done();
    expect(workers.map(({ phase }) => phase)).toEqual(['ready', 'closing']);
    workers[1]?.end();
    readyAll();
    expect(names()).toEqual(['endless1', 'c3']);
    // The one that was spared serves its domain as before.
    submit({ domain: 'endless' });
    expect(names()).toEqual(['endless1', 'c3', 'endless4']);
  });

  it('does not evict a worker with a step in it', () => {
    const { workers, submit, readyAll, running, names } = makePool({ maxWorkers: 1, cores: 1 });
    submit({ domain: 'a' });
    readyAll();
    submit({ domain: 'b' });
    expect(workers.map(({ phase }) => phase)).toEqual(['ready']);
    running[0]?.done();
    expect(workers[0]?.phase).toBe('closing');
    workers[0]?.end();
    readyAll();
    expect(names()).toEqual(['b2']);
  });

  it('gives a job that must be alone a worker in which nothing ran, and lets nothing join it', () => {
    const { workers, submit, readyAll, running } = makePool();
    submit();
    readyAll();
    running[0]?.done();
    submit({ isAlone: true });
    expect(running).toEqual([]);
    readyAll();
    expect(running[0]?.worker.id).toBe(2);
    submit();
    submit();
    expect(running.filter(({ worker }) => worker.id === 2)).toHaveLength(1);
    expect(workers[0]?.jobs).toBe(2);
  });

  it('makes room for a job that must be alone among idle workers of its own domain', () => {
    const { workers, submit, readyAll, running, names } = makePool({ maxWorkers: 1, cores: 1 });
    submit();
    readyAll();
    running[0]?.done();
    submit({ isAlone: true });
    expect(workers[0]?.phase).toBe('closing');
    workers[0]?.end();
    readyAll();
    expect(names()).toEqual(['a2']);
  });

  it('gives no step to a worker that is late with its pings until it is back', () => {
    const { workers, submit, readyAll, running, names } = makePool({ maxWorkers: 1, cores: 1 });
    submit();
    readyAll();
    running[0]?.done();
    const [worker] = workers;
    if (worker !== undefined) worker.phase = 'late';
    submit();
    expect(names()).toEqual([]);
    worker?.ready();
    expect(names()).toEqual(['a2']);
  });

  it('closes a spent worker as soon as it is idle', () => {
    const { workers, submit, readyAll, running } = makePool();
    submit();
    readyAll();
    const [worker] = workers;
    if (worker !== undefined) worker.isSpent = true;
    submit();
    readyAll();
    expect(running.map(({ worker: { id } }) => id)).toEqual([1, 2]);
    running[0]?.done();
    expect(worker?.phase).toBe('closing');
  });

  it('withdraws a waiting job, which then never starts', () => {
    const { submit, readyAll, names, pool } = makePool();
    const ticket = submit();
    expect([ticket.withdraw(), ticket.withdraw()]).toEqual([true, false]);
    readyAll();
    expect([names(), pool.figures.waiting]).toEqual([[], 0]);
  });

  it('refuses jobs beyond the length of its queue', () => {
    const { submit, refused } = makePool({ maxWaiting: 2 });
    for (let i = 0; i < 3; i++) submit();
    expect(refused).toMatchObject([{ name: 'a3', code: 'SANDBOX_UNAVAILABLE' }]);
  });

  it('gives no job that needs a jail to a worker without one', () => {
    const { submit, readyAll, names, pool, refused } = makePool({ isJailed: false });
    submit({ needsJail: true });
    readyAll();
    submit({ domain: 'b', needsJail: false });
    readyAll();
    expect(names()).toEqual(['b2']);
    pool.refuseWaiting((job) => job.needsJail, 'no jail');
    expect(refused).toEqual([{ name: 'a1', code: 'SANDBOX_UNAVAILABLE', message: 'no jail' }]);
  });

  it('asks why a worker did not start, tries again, and after three times refuses what waits', async () => {
    vi.useFakeTimers();
    const { submit, workers, onStartFailure, refused } = makePool();
    submit();
    for (let i = 0; i < 3; i++) {
      workers.at(-1)?.end('no such file');
      await vi.advanceTimersByTimeAsync(200);
    }
    vi.useRealTimers();
    expect(onStartFailure).toHaveBeenCalledTimes(3);
    expect(refused).toMatchObject([{ code: 'SANDBOX_UNAVAILABLE', message: expect.stringContaining('no such file') }]);
  });

  it('closes every worker and refuses what waits', async () => {
    const { pool, submit, workers, readyAll, refused } = makePool({ maxWorkers: 1, cores: 1 });
    submit();
    readyAll();
    submit({ concurrent: 1 });
    const closing = pool.close();
    for (const worker of workers) worker.end();
    await closing;
    submit();
    expect(refused.map(({ name }) => name)).toEqual(['a2', 'a3']);
  });

  it('starts every job in any order of events, never mixes domains and never exceeds its places', () => {
    const event = fc.oneof(
      fc.record({
        kind: fc.constant('submit' as const),
        domain: fc.constantFrom('a', 'b', 'c'),
        isAlone: fc.boolean(),
      }),
      fc.record({ kind: fc.constantFrom('ready' as const, 'close' as const) }),
      fc.record({ kind: fc.constant('done' as const), nth: fc.nat({ max: 5 }) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), fc.integer({ min: 1, max: 5 }), (events, maxWorkers) => {
        const made = makePool({ maxWorkers, cores: 2 });
        const check = (): void => {
          const live = made.workers.filter(({ phase }) => phase !== 'ended');
          expect(live.length).toBeLessThanOrEqual(maxWorkers);
          for (const worker of made.workers) expect(worker.domains.size).toBeLessThanOrEqual(1);
          // Nobody waits beside a place that rests, unless room is being made already.
          const isMakingRoom = live.some(({ phase }) => phase === 'starting' || phase === 'closing');
          const rests = (worker: FakeWorker) => worker.phase === 'ready' && worker.jobs === 0;
          const served = new Set(live.flatMap((worker) => [...worker.domains]));
          const stands = made.waitingDomains().filter((domain) => !served.has(domain));
          if (stands.length > 0 && !isMakingRoom) expect(live.filter(rests)).toEqual([]);
        };
        for (const happened of events) {
          if (happened.kind === 'submit') made.submit({ domain: happened.domain, isAlone: happened.isAlone });
          if (happened.kind === 'ready') made.workers.find(({ phase }) => phase === 'starting')?.ready();
          if (happened.kind === 'done') made.running[happened.nth % made.running.length]?.done();
          if (happened.kind === 'close') made.workers.find(({ phase }) => phase === 'closing')?.end();
          check();
        }
        for (let left = 2000; made.pool.figures.waiting + made.running.length > 0; left--) {
          if (left === 0) throw new Error(`stuck: ${JSON.stringify(made.pool.figures)}`);
          made.readyAll();
          made.running[0]?.done();
          for (const worker of made.workers) if (worker.phase === 'closing' && worker.jobs === 0) worker.end();
          check();
        }
      }),
    );
  });
});
