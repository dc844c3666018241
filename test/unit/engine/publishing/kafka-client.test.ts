import {
  clientErrorText,
  isConnectionTrouble,
  isRequestTimeout,
  kafkaErrorType,
  silenceNegativeTimeouts,
} from '@flowops/engine/publishing/kafka-client.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

describe('silenceNegativeTimeouts', () => {
  const shown: unknown[] = [];
  const emitWarning = process.emitWarning;
  beforeAll(() => {
    const record: (...args: unknown[]) => void = (...args) => void shown.push(args);
    process.emitWarning = record;
    silenceNegativeTimeouts();
  });
  afterAll(() => {
    process.emitWarning = emitWarning;
  });

  it("drops the warning about the client's timer and shows that of any other", () => {
    function scheduleCheckPendingRequests() {
      process.emitWarning('-5 is a negative number.', 'TimeoutNegativeWarning');
    }
    scheduleCheckPendingRequests();
    expect(shown).toEqual([]);
    process.emitWarning('-6 is a negative number.', 'TimeoutNegativeWarning');
    process.emitWarning('old', 'DeprecationWarning', 'DEP0001');
    expect(shown).toEqual([
      ['-6 is a negative number.', 'TimeoutNegativeWarning'],
      ['old', 'DeprecationWarning', 'DEP0001'],
    ]);
  });
});

describe("the client's errors", () => {
  const named = (name: string, more: object = {}, cause?: Error) =>
    Object.assign(new Error(`about ${name}`, { cause }), { name, ...more });

  it('are told by their innermost cause', () => {
    const inner = named('KafkaJSProtocolError', { type: 'MESSAGE_TOO_LARGE' });
    const outer = named('KafkaJSNumberOfRetriesExceeded', { retriable: false }, inner);
    expect(kafkaErrorType(outer)).toBe('MESSAGE_TOO_LARGE');
    expect(clientErrorText(outer)).toBe('about KafkaJSProtocolError');
  });

  it('are told by the first of several', () => {
    const aggregate = named('KafkaJSAggregateError', {
      errors: [named('KafkaJSCreateTopicError', { type: 'POLICY_VIOLATION' })],
    });
    expect(kafkaErrorType(aggregate)).toBe('POLICY_VIOLATION');
  });

  it('are trouble of the connection wherever in the chain that is said', () => {
    expect(isConnectionTrouble(named('KafkaJSNumberOfRetriesExceeded', {}, named('KafkaJSConnectionError')))).toBe(
      true,
    );
    expect(isConnectionTrouble(named('KafkaJSProtocolError', { retriable: true }))).toBe(true);
    expect(isConnectionTrouble(named('KafkaJSProtocolError', { retriable: false }))).toBe(false);
    expect(isConnectionTrouble(new TypeError('a bug'))).toBe(false);
  });

  it('say when the answer did not come', () => {
    expect(isRequestTimeout(named('KafkaJSError', {}, named('KafkaJSRequestTimeoutError')))).toBe(true);
    expect(isRequestTimeout(named('KafkaJSConnectionError'))).toBe(false);
    expect(isRequestTimeout('text')).toBe(false);
  });
});
