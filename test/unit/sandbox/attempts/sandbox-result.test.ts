import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../../../proto/errors.ts';
import { ResultSchema, Status } from '../../../../proto/sandbox_pb.js';
import { readSandboxResult, readSandboxUsage } from '../../../../sandbox/attempts/sandbox-result.ts';

const failedWith = (code: string) => readSandboxResult(create(ResultSchema, { status: Status.FAILED, code }), 100);
const completedWith = (json: string) =>
  readSandboxResult(create(ResultSchema, { status: Status.COMPLETED, outputsJson: Buffer.from(json) }), 100);

describe('what a worker says', () => {
  it('can never be a fault of ours, which would give a free rerun', () => {
    for (const [code, { fault }] of Object.entries(ERROR_CODES)) {
      if (fault === 'infrastructure') expect(failedWith(code)).toMatchObject({ code: 'SANDBOX_CRASHED' });
    }
    expect(failedWith('hasOwnProperty')).toMatchObject({ code: 'SANDBOX_CRASHED' });
    expect(failedWith('PLUGIN_FATAL')).toMatchObject({ code: 'PLUGIN_FATAL' });
  });

  it.each([
    ['{"a":1}', 'COMPLETED'],
    ['{"a":"'.concat('x'.repeat(200), '"}'), 'LIMIT_OUTPUT'],
    ['[]', 'OUTPUT_INVALID'],
    ['{', 'OUTPUT_INVALID'],
    ['{"a":{"__proto__":1}}', 'OUTPUT_INVALID'],
  ])('about outputs is checked: %s', (json, expected) => {
    const outcome = completedWith(json);
    expect(outcome.status === 'FAILED' ? outcome.code : outcome.status).toBe(expected);
  });

  it('is bounded in length', () => {
    const result = create(ResultSchema, {
      status: Status.FAILED,
      code: 'PLUGIN_ERROR',
      message: 'm'.repeat(100_000),
      stack: 's'.repeat(100_000),
      retryAfterMs: 0xffffffff,
    });
    const outcome = readSandboxResult(result, 100);
    if (outcome.status !== 'FAILED') throw new Error(outcome.status);
    expect([outcome.message.length, outcome.stack.length]).toEqual([4096, 8192]);
    expect(outcome.retryAfterMs).toBeLessThan(0xffffffff);
  });

  it('without a status is a crash', () => {
    expect(readSandboxResult(create(ResultSchema, {}), 100)).toMatchObject({ code: 'SANDBOX_CRASHED' });
  });

  it('about its usage is read only when it has the right shape', () => {
    expect(readSandboxUsage(Buffer.from('{"cpuMs":1,"heapBytes":2,"runMs":3}'))).toEqual({
      cpuMs: 1,
      heapBytes: 2,
      runMs: 3,
    });
    expect(readSandboxUsage(Buffer.from('{"cpuMs":-1,"heapBytes":2,"runMs":3}'))).toBeUndefined();
    expect(readSandboxUsage(new Uint8Array(0))).toBeUndefined();
    expect(readSandboxUsage(Buffer.from('nonsense'))).toBeUndefined();
  });
});
