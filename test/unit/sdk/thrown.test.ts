import { expect, test } from 'vitest';
import { TaskError } from '../../../sdk/index.ts';
import { describeThrown, MAX_MESSAGE_LENGTH } from '../../../sdk/thrown.ts';

test('the name of an error stands before its message where it says something', () => {
  expect(describeThrown(new TypeError('boo')).message).toBe('TypeError: boo');
  expect(describeThrown(new Error('boo')).message).toBe('boo');
});

test('causes are told, three deep, and a chain without an end is cut', () => {
  const endless = new Error('a');
  endless.cause = new Error('b', { cause: endless });
  expect(describeThrown(endless).message).toBe('a (caused by: b) (caused by: a) (caused by: b)');
});

test.each([
  [null, 'threw null, which is no Error'],
  [undefined, 'threw undefined, which is no Error'],
  [42, 'threw 42, which is no Error'],
  ['just text', 'just text'],
  [{}, 'threw an object, which is no Error'],
])('%o thrown is described', (thrown, message) => {
  expect(describeThrown(thrown).message).toBe(message);
});

test('a proxy that throws at every touch is described', () => {
  const hostile = new Proxy(
    {},
    {
      get() {
        throw new Error('no');
      },
      getPrototypeOf() {
        throw new Error('no');
      },
    },
  );
  expect(describeThrown(hostile).message).toBe('threw a proxy that cannot be read, which is no Error');
});

test('a huge message is cut', () => {
  expect(describeThrown(new Error('x'.repeat(100_000))).message.length).toBeLessThanOrEqual(MAX_MESSAGE_LENGTH);
});

test('TaskError says whether and when to try again', () => {
  const thrown = describeThrown(new TaskError('no', { retryable: false, retryAfterMs: 1500.7 }));
  expect(thrown).toMatchObject({ message: 'no', isRetryable: false, retryAfterMs: 1500 });
  expect(describeThrown(new TaskError('later'))).toMatchObject({ isRetryable: true, retryAfterMs: 0 });
  expect(describeThrown(new TaskError('later', { retryAfterMs: Number.NaN })).retryAfterMs).toBe(0);
});
