/**
 * How the engine reaches Kafka: one client per use (consumer, producer), each with connections of its own, so that a
 * request that got no answer can take its connection down without hurting the other. Owns timeouts, logging and the
 * check at start; knows nothing about topics or messages.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@flowops/proto/errors.ts';
import { type Admin, Kafka, type LogEntry, logLevel, type RetryOptions } from 'kafkajs';
import type { Log } from '../log.ts';
import type { KafkaSecurity } from './kafka-security.ts';
import { KafkaSockets } from './kafka-sockets.ts';

/** A request without an answer for this long is given up and its connection destroyed (design 4.4). */
export const REQUEST_TIMEOUT_MS = 5000;
const CONNECTION_TIMEOUT_MS = 3000;
/** How long a start may wait for brokers before it says so. */
export const START_TIMEOUT_MS = 10_000;
export const START_RETRY_MS = 250;

export interface KafkaAddress {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly security: KafkaSecurity;
}

export interface KafkaClientOptions extends KafkaAddress {
  readonly log: Log;
  /** Looked at when a produce request is about to go out; false cuts its connection instead. */
  readonly mayProduce?: () => boolean;
  /** Of the client itself. Default: none; whoever sends decides what is sent again, the client would reorder or hide it. */
  readonly retry?: RetryOptions;
}

/** Kafka cannot be used now; a later start may work. */
export class KafkaUnavailable extends Error {
  override readonly name = 'KafkaUnavailable';
}

export interface KafkaClient {
  readonly kafka: Kafka;
  /** Cuts every connection of this client at once. What waits for an answer on them fails. */
  destroyConnections(reason: string): void;
  /** The same, and no connection is made any more: for a client that must end although brokers do not answer. */
  shutDown(): void;
}

export function createKafkaClient(options: KafkaClientOptions): KafkaClient {
  silenceNegativeTimeouts();
  const { log, mayProduce = () => true } = options;
  const { tls, sasl } = options.security;
  const sockets = new KafkaSockets(mayProduce);
  const kafka = new Kafka({
    brokers: [...options.brokers],
    clientId: options.clientId,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    retry: options.retry ?? { retries: 0 },
    logLevel: logLevel.INFO,
    logCreator: () => (entry) => writeClientLog(log, entry),
    socketFactory: sockets.create,
    ...(tls === undefined ? {} : { ssl: tls }),
    ...(sasl === undefined ? {} : { sasl }),
  });
  return {
    kafka,
    destroyConnections: (reason) => sockets.destroy(reason),
    shutDown: () => sockets.shutDown(),
  };
}

/** Asks the brokers something over connections of its own, closed afterwards. */
export async function withAdmin<Answer>(client: KafkaClient, ask: (admin: Admin) => Promise<Answer>): Promise<Answer> {
  const admin = client.kafka.admin();
  try {
    await admin.connect();
    return await ask(admin);
  } finally {
    await admin.disconnect();
  }
}

/**
 * Waits up to 10 s for brokers that answer, and gives a connected admin.
 * @throws KafkaUnavailable one sentence that names KAFKA_BROKERS
 */
export async function connectAdmin(client: KafkaClient, address: KafkaAddress, signal?: AbortSignal): Promise<Admin> {
  const admin = client.kafka.admin();
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      await admin.connect();
      return admin;
    } catch (cause) {
      signal?.throwIfAborted();
      const brokers = address.brokers.join(',');
      const refusal = explainRefusal(cause, address.security);
      if (refusal !== undefined) {
        await admin.disconnect().catch(() => {});
        throw new KafkaUnavailable(`The Kafka brokers ${brokers} were reached, but ${refusal}`, { cause });
      }
      if (performance.now() + START_RETRY_MS > deadlineMs) {
        await admin.disconnect().catch(() => {});
        throw new KafkaUnavailable(
          `No Kafka broker of KAFKA_BROKERS=${brokers} could be reached within ${START_TIMEOUT_MS / 1000} s: ` +
            `${clientErrorText(cause)}. Start Kafka, or correct KAFKA_BROKERS.`,
          { cause },
        );
      }
      await sleep(START_RETRY_MS, undefined, { ...(signal === undefined ? {} : { signal }) });
    }
  }
}

/** What no later try mends: who we say we are, or what the broker shows of itself, is not believed. */
function explainRefusal(thrown: unknown, { tls, sasl }: KafkaSecurity): string | undefined {
  const errors = causes(thrown);
  const text = clientErrorText(thrown);
  if (errors.some(({ name }) => name.startsWith('KafkaJSSASL'))) {
    const user = sasl !== undefined && 'username' in sasl ? ` ${sasl.username}` : '';
    return (
      `did not accept the user${user}: ${text}. ` +
      'Correct KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD.'
    );
  }
  const code = errors.map((error) => ('code' in error ? String(error.code) : '')).find(isTlsCode);
  if (tls === undefined || code === undefined) return undefined;
  return `no TLS connection came about: ${text} (${code}). Correct KAFKA_TLS_CA, KAFKA_TLS_CERT and KAFKA_TLS_KEY.`;
}

/** Node's codes of OpenSSL and of the check of a certificate. */
function isTlsCode(code: string): boolean {
  return /^(?:ERR_SSL_|ERR_TLS_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO$)/.test(
    code,
  );
}

/** Kafka's own name of the error (`MESSAGE_TOO_LARGE`), or the client's (`KafkaJSConnectionError`). */
export function kafkaErrorType(thrown: unknown): string {
  for (const error of causes(thrown)) {
    if ('type' in error && typeof error.type === 'string') return error.type;
  }
  return thrown instanceof Error ? thrown.name : 'unknown';
}

/** Whether the client gave up waiting for an answer. */
export function isRequestTimeout(thrown: unknown): boolean {
  return causes(thrown).some((error) => error.name === 'KafkaJSRequestTimeoutError');
}

/** Whether the error comes from the connection to the brokers or their present state, so that trying again may help. */
export function isConnectionTrouble(thrown: unknown): boolean {
  return causes(thrown).some(
    (error) => CONNECTION_ERRORS.has(error.name) || ('retriable' in error && error.retriable === true),
  );
}

/** The innermost message: the client wraps what happened in counts of its retries. */
export function clientErrorText(thrown: unknown): string {
  return messageOf(causes(thrown).at(-1) ?? thrown);
}

const CONNECTION_ERRORS = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSNoBrokerAvailableError',
  'KafkaJSBrokerNotFound',
  'KafkaJSGroupCoordinatorNotFound',
  'KafkaJSMetadataNotLoaded',
  'KafkaJSLockTimeout',
]);
const MAX_CAUSES = 8;

function causes(thrown: unknown): readonly Error[] {
  const found: Error[] = [];
  let current = thrown;
  while (current instanceof Error && found.length < MAX_CAUSES) {
    found.push(current);
    current = current.cause ?? ('errors' in current && Array.isArray(current.errors) ? current.errors[0] : undefined);
  }
  return found;
}

/** The client reports every failed connection as an error; what matters of it is told once by those who use it. */
function writeClientLog(log: Log, { namespace, log: entry }: LogEntry): void {
  const { message, timestamp: _timestamp, logger: _logger, ...fields } = entry;
  log.debug(fields, `kafkajs ${namespace}: ${message}`);
}

let isSilenced = false;

/**
 * kafkajs 2.2.4 arms a timer with a negative delay whenever it is not throttled, of which Node 24 warns. That one warning
 * is dropped; every other, of anybody's timers too, is shown as before.
 */
export function silenceNegativeTimeouts(): void {
  if (isSilenced) return;
  isSilenced = true;
  const emitWarning = process.emitWarning.bind(process);
  const filtered = (...args: Parameters<typeof process.emitWarning>): void => {
    if (isTypeNegative(args[1]) && (new Error().stack ?? '').includes('scheduleCheckPendingRequests')) return;
    emitWarning(...args);
  };
  process.emitWarning = filtered as typeof process.emitWarning; // one function for all of its overloads
}

function isTypeNegative(options: unknown): boolean {
  return options === 'TimeoutNegativeWarning';
}
