import { readKafkaSecurity } from '@flowops/engine/publishing/kafka-security.ts';
import { describe, expect, it } from 'vitest';

const NOTHING = {
  KAFKA_TLS_CA: undefined,
  KAFKA_TLS_CERT: undefined,
  KAFKA_TLS_KEY: undefined,
  KAFKA_SASL_MECHANISM: undefined,
  KAFKA_SASL_USERNAME: undefined,
  KAFKA_SASL_PASSWORD: undefined,
};
const USER = { KAFKA_SASL_USERNAME: 'engine', KAFKA_SASL_PASSWORD: 'hunter2' };

describe('readKafkaSecurity', () => {
  it('asks for nothing when nothing is set', () => {
    expect(readKafkaSecurity(NOTHING)).toEqual({});
  });

  it('turns TLS on with the authorities that Node trusts', () => {
    expect(readKafkaSecurity({ ...NOTHING, KAFKA_TLS_CA: 'system' })).toEqual({ tls: {} });
  });

  it('takes user and password', () => {
    expect(readKafkaSecurity({ ...NOTHING, ...USER, KAFKA_SASL_MECHANISM: 'scram-sha-512' })).toEqual({
      sasl: { mechanism: 'scram-sha-512', username: 'engine', password: 'hunter2' },
    });
  });

  it.each([
    [{ KAFKA_TLS_CERT: 'c' }, 'KAFKA_TLS_CERT is set but KAFKA_TLS_KEY is not'],
    [{ KAFKA_TLS_KEY: 'k' }, 'KAFKA_TLS_KEY is set but KAFKA_TLS_CERT is not'],
    [{ KAFKA_SASL_USERNAME: 'u' }, 'KAFKA_SASL_USERNAME is set but KAFKA_SASL_MECHANISM is not'],
    [{ KAFKA_SASL_PASSWORD: 'p' }, 'KAFKA_SASL_PASSWORD is set but KAFKA_SASL_MECHANISM is not'],
    [{ KAFKA_SASL_MECHANISM: 'plain' as const }, 'KAFKA_SASL_MECHANISM is set but KAFKA_SASL_USERNAME is not'],
    [
      { KAFKA_SASL_MECHANISM: 'plain' as const, KAFKA_SASL_USERNAME: 'u' },
      'KAFKA_SASL_MECHANISM is set but KAFKA_SASL_PASSWORD is not',
    ],
    [
      { KAFKA_TLS_CA: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' },
      'KAFKA_TLS_CA must be certificates in PEM',
    ],
    [{ KAFKA_TLS_CERT: 'no PEM', KAFKA_TLS_KEY: 'no PEM' }, 'KAFKA_TLS_CERT must be a certificate in PEM'],
  ])('refuses %j by name', (values, says) => {
    expect(() => readKafkaSecurity({ ...NOTHING, ...values })).toThrow(says);
  });

  it('never shows the password', () => {
    const wrong = { ...NOTHING, KAFKA_SASL_PASSWORD: 'hunter2' };
    expect(() => readKafkaSecurity(wrong)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') }),
    );
  });
});
