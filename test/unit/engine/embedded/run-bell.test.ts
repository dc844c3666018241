import { RunBell } from '@flowops/engine/embedded/run-bell.ts';
import { expect, it } from 'vitest';

const NEVER = new AbortController().signal;

it('wakes everybody who listens for the run, and nobody else', async () => {
  const bell = new RunBell();
  const [one, two, other] = ['a', 'a', 'b'].map((key) => bell.listen(key));
  const heard: string[] = [];
  const waits = [one?.rung(NEVER).then(() => heard.push('one')), two?.rung(NEVER).then(() => heard.push('two'))];
  const left = new AbortController();
  const silent = other?.rung(left.signal).then(undefined, (thrown: unknown) => thrown);
  bell.ring('a');
  await Promise.all(waits);
  expect(heard).toEqual(['one', 'two']);
  left.abort('nothing came');
  expect(await silent).toBe('nothing came');
});

it('keeps a ring for who is busy, once', async () => {
  const bell = new RunBell();
  const listener = bell.listen('a');
  bell.ring('a');
  bell.ring('a');
  await listener.rung(NEVER);
  const left = new AbortController();
  const next = listener.rung(left.signal).then(undefined, (thrown: unknown) => thrown);
  left.abort('only one');
  expect(await next).toBe('only one');
});

it('does not wait under a signal that was aborted before', async () => {
  const listener = new RunBell().listen('a');
  await expect(listener.rung(AbortSignal.abort('over'))).rejects.toBe('over');
});

it('does not ring for who has stopped listening', async () => {
  const bell = new RunBell();
  const [one, two] = [bell.listen('a'), bell.listen('a')];
  one.stop();
  bell.ring('a');
  await two.rung(NEVER);
  const left = new AbortController();
  const waiting = one.rung(left.signal).then(undefined, (thrown: unknown) => thrown);
  left.abort('stopped');
  expect(await waiting).toBe('stopped');
});
