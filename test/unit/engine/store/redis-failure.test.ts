import { describe, expect, it } from 'vitest';
import { isLastingRefusal, redisFailure, replyCode } from '../../../../engine/store/redis-failure.ts';
import { StoreDamaged, StoreUnavailable } from '../../../../engine/store/run-store.ts';

/** An error reply as the client library gives it. */
function reply(message: string): Error {
  const error = new Error(message);
  error.name = 'ReplyError';
  return error;
}

describe('a failed Redis call', () => {
  it.each([
    ['READONLY You can’t write against a read only replica. script: 1f, on @user_script:3.', 'READONLY'],
    ['ERR Error running script (call to f_1f): @user_script:3: -OOM command not allowed', 'OOM'],
    ['ERR unknown command', 'ERR'],
    ['WRONGTYPE Operation against a key', 'WRONGTYPE'],
  ])('%s has the code %s', (message, code) => {
    expect(replyCode(reply(message))).toBe(code);
  });

  it('cut off before the answer says so, and not which option of the client library to change', () => {
    const thrown = new Error('Reached the max retries per request limit (which is 0). Refer to "maxRetriesPerRequest"');
    thrown.name = 'MaxRetriesPerRequestError';
    const failure = redisFailure(thrown, 'redis://h:1/0');
    expect(failure).toBeInstanceOf(StoreUnavailable);
    expect(failure.message).toBe(
      'Redis at redis://h:1/0 did not answer: the connection was lost before the answer came',
    );
  });

  it.each(['READONLY', 'LOADING', 'MISCONF', 'OOM', 'BUSY', 'NOAUTH', 'WRONGPASS', 'NOPERM', 'NOREPLICAS'])(
    'with %s is unavailable and says what to do',
    (code) => {
      const failure = redisFailure(reply(`${code} whatever`), 'redis://h:1/0');
      expect(failure).toBeInstanceOf(StoreUnavailable);
      expect(failure.message).toMatch(new RegExp(`^Redis at redis://h:1/0 refuses: .{15,}\\(${code}\\)$`));
    },
  );

  it('because of the connection is unavailable', () => {
    expect(redisFailure(new Error('read ECONNRESET'), 'l')).toBeInstanceOf(StoreUnavailable);
  });

  it('because of somebody else’s data is damage', () => {
    expect(redisFailure(reply('WRONGTYPE Operation against a key'), 'l')).toBeInstanceOf(StoreDamaged);
  });

  it('because of a bug in a script stays a bug', () => {
    const failure = redisFailure(reply('ERR user_script:4: attempt to compare nil with number'), 'l');
    expect(failure).not.toBeInstanceOf(StoreUnavailable);
    expect(failure).not.toBeInstanceOf(StoreDamaged);
    expect(failure.message).toContain('attempt to compare');
  });

  it('is told once, however many layers it passes', () => {
    const first = new StoreUnavailable('gone');
    expect(redisFailure(first, 'l')).toBe(first);
  });

  it('lasts when the server refused us, not while it starts', () => {
    expect(isLastingRefusal(reply('WRONGPASS invalid'))).toBe(true);
    expect(isLastingRefusal(reply('ERR DB index is out of range'))).toBe(true);
    expect(isLastingRefusal(reply('LOADING Redis is loading'))).toBe(false);
    expect(isLastingRefusal(new Error('connect ECONNREFUSED'))).toBe(false);
  });
});
