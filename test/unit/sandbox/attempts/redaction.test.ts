import { describe, expect, it } from 'vitest';
import { redactLine, redactOutcome } from '../../../../sandbox/attempts/redaction.ts';
import { KnownSecrets } from '../../../../sandbox/host-calls/known-secrets.ts';

const known = new KnownSecrets();
known.add('TOKEN', 'token-value');

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

describe('a secret that an attempt was given is taken out of', () => {
  it('the message and the fields of a line', () => {
    const fieldsJson = json({ header: 'Bearer token-value', n: 1 });
    const line = redactLine({ level: 'info', message: 'sent token-value', fieldsJson }, known);
    expect(line).toMatchObject({ level: 'info', message: 'sent ***' });
    expect(textOf(line.fieldsJson)).toBe('{"header":"Bearer ***","n":1}');
  });

  it('outputs, and says how many texts it changed', () => {
    const outputsJson = json({ a: 'token-value', b: [{ 'token-value': 'x' }], c: 'other' });
    const { outcome, changedOutputs } = redactOutcome({ status: 'COMPLETED', outputsJson }, known);
    expect(changedOutputs).toBe(2);
    expect(outcome.status === 'COMPLETED' && textOf(outcome.outputsJson)).toBe(
      '{"a":"***","b":[{"***":"x"}],"c":"other"}',
    );
  });

  it('the message and the stack of an error', () => {
    const failed = {
      status: 'FAILED',
      code: 'PLUGIN_ERROR',
      message: `no: ${encodeURIComponent('token-value')}`,
      stack: 'at token-value',
      isRetryable: true,
      retryAfterMs: 0,
    } as const;
    expect(redactOutcome(failed, known).outcome).toEqual({ ...failed, message: 'no: ***', stack: 'at ***' });
    expect(redactOutcome({ status: 'CANCELLED', message: 'token-value' }, known).outcome).toMatchObject({
      message: '***',
    });
  });
});

it('what holds no secret leaves as it came, byte for byte', () => {
  const outputsJson = Buffer.from('{ "a": 1.0 }');
  const { outcome } = redactOutcome({ status: 'COMPLETED', outputsJson }, known);
  expect(outcome.status === 'COMPLETED' && outcome.outputsJson).toBe(outputsJson);
  const line = { level: 'warn', message: 'm', fieldsJson: new Uint8Array(0) } as const;
  expect(redactLine(line, known)).toEqual(line);
});
