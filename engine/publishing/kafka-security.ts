/** How the engine proves who it is to the brokers, and they to it: from the settings KAFKA_TLS_* and KAFKA_SASL_*. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import type { SettingValues } from '@flowops/proto/settings.ts';
import type { SASLOptions } from 'kafkajs';

/** In place of certificates: those that Node.js trusts by itself. */
const SYSTEM_AUTHORITIES = 'system';

export interface KafkaSecurity {
  /** Present: every connection is TLS. */
  readonly tls?: Pick<SecureContextOptions, 'ca' | 'cert' | 'key'>;
  readonly sasl?: SASLOptions;
}

type Values = Pick<
  SettingValues,
  | 'KAFKA_TLS_CA'
  | 'KAFKA_TLS_CERT'
  | 'KAFKA_TLS_KEY'
  | 'KAFKA_SASL_MECHANISM'
  | 'KAFKA_SASL_USERNAME'
  | 'KAFKA_SASL_PASSWORD'
>;

/** @throws FlowopsError CONFIG_INVALID when the settings do not go together, or hold no certificate or key */
export function readKafkaSecurity(values: Values): KafkaSecurity {
  const tls = readTls(values);
  const sasl = readSasl(values);
  return { ...(tls === undefined ? {} : { tls }), ...(sasl === undefined ? {} : { sasl }) };
}

function readTls({ KAFKA_TLS_CA: ca, KAFKA_TLS_CERT: cert, KAFKA_TLS_KEY: key }: Values): KafkaSecurity['tls'] {
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  if (cert !== undefined && key === undefined) throw together('KAFKA_TLS_CERT', 'KAFKA_TLS_KEY');
  if (key !== undefined && cert === undefined) throw together('KAFKA_TLS_KEY', 'KAFKA_TLS_CERT');
  const authorities = ca === undefined || ca === SYSTEM_AUTHORITIES ? {} : { ca };
  if (authorities.ca !== undefined) {
    const { ca: text } = authorities;
    tryOut('KAFKA_TLS_CA', 'certificates in PEM, or the word system', () => new X509Certificate(text));
  }
  if (cert === undefined || key === undefined) return authorities;
  tryOut('KAFKA_TLS_CERT', 'a certificate in PEM', () => new X509Certificate(cert));
  const isKey = () => createSecureContext({ cert, key });
  tryOut('KAFKA_TLS_KEY', 'the key of KAFKA_TLS_CERT in PEM, without a passphrase', isKey);
  return { ...authorities, cert, key };
}

function readSasl(values: Values): SASLOptions | undefined {
  const { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: username, KAFKA_SASL_PASSWORD: password } = values;
  if (mechanism === undefined) {
    if (username !== undefined) throw together('KAFKA_SASL_USERNAME', 'KAFKA_SASL_MECHANISM');
    if (password !== undefined) throw together('KAFKA_SASL_PASSWORD', 'KAFKA_SASL_MECHANISM');
    return undefined;
  }
  if (username === undefined) throw together('KAFKA_SASL_MECHANISM', 'KAFKA_SASL_USERNAME');
  if (password === undefined) throw together('KAFKA_SASL_MECHANISM', 'KAFKA_SASL_PASSWORD');
  return { mechanism, username, password };
}

function together(given: string, missing: string): FlowopsError {
  return new FlowopsError('CONFIG_INVALID', `${given} is set but ${missing} is not; set both or neither`);
}

function tryOut(name: string, what: string, use: () => unknown): void {
  try {
    use();
  } catch (cause) {
    throw new FlowopsError('CONFIG_INVALID', `${name} must be ${what}: ${messageOf(cause)}`, { cause });
  }
}
