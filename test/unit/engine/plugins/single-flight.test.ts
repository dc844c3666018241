import { Limiter } from '@flowops/engine/plugins/limiter.ts';
import { SingleFlight } from '@flowops/engine/plugins/single-flight.ts';
import { expect, test } from 'vitest';

const never = new AbortController().signal;

test('callers of one key share one piece of work, and the next caller after it begins another', async () => {
  const flight = new SingleFlight<number>();
  let begun = 0;
  const run = () =>
    flight.run(
      'k',
      never,
      () => -1,
      async () => ++begun,
    );
  expect(await Promise.all([run(), run(), run()])).toEqual([1, 1, 1]);
  expect(await run()).toBe(2);
});

test('a caller who gives up leaves the work to the others; the last to leave ends it', async () => {
  const flight = new SingleFlight<string>();
  const gate = Promise.withResolvers<string>();
  let seen: AbortSignal | undefined;
  const work = (signal: AbortSignal) => {
    seen = signal;
    return gate.promise;
  };
  const [first, second] = [new AbortController(), new AbortController()];
  const one = flight.run('k', first.signal, () => 'left', work);
  const two = flight.run('k', second.signal, () => 'left', work);
  first.abort();
  expect(await one).toBe('left');
  expect(seen?.aborted).toBe(false);
  second.abort();
  expect(await two).toBe('left');
  expect(seen?.aborted).toBe(true);
  const three = flight.run(
    'k',
    never,
    () => 'left',
    async () => 'new',
  );
  expect(await three).toBe('new');
  gate.resolve('late');
});

test('a limiter runs so many at once, in order, and one who gives up waiting takes no place', async () => {
  const limiter = new Limiter(2);
  const order: string[] = [];
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const start = (name: string, signal = never) =>
    limiter.run(signal, async () => {
      order.push(name);
      const gate = Promise.withResolvers<void>();
      gates.set(name, gate);
      await gate.promise;
    });
  const leaving = new AbortController();
  const all = [start('a'), start('b'), start('c', leaving.signal), start('d')];
  leaving.abort(new Error('gone'));
  await expect(all[2]).rejects.toThrow('gone');
  expect(order).toEqual(['a', 'b']);
  gates.get('a')?.resolve();
  await all[0];
  expect(order).toEqual(['a', 'b', 'd']);
  gates.get('b')?.resolve();
  gates.get('d')?.resolve();
  await Promise.all([all[1], all[3]]);
});
