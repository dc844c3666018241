/** How this engine sets up the client library for a Redis: what is never left to the library is said here. */
import { Redis } from 'ioredis';
import { replyCode } from './redis-failure.ts';
import type { RedisAddress, RedisHost } from './redis-url.ts';

const CONNECT_TIMEOUT_MS = 2_000;
/** Longer than any script of ours or a rewrite's fork stalls Redis; shorter than anybody wants to hang. */
const CALL_TIMEOUT_MS = 5_000;
/** Notices a half-open connection while nothing is called. */
const KEEP_ALIVE_MS = 10_000;
const RECONNECT_FIRST_MS = 50;
/** Low, because a reconnect is cheap and every run waits for it. */
const RECONNECT_MOST_MS = 1_000;

/** A client that connects again by itself for ever, and keeps no call waiting for it. */
export function newClient(address: RedisAddress): Redis {
  return new Redis({
    ...common(address),
    ...target(address, address.hosts[0]),
    socketTimeout: CALL_TIMEOUT_MS,
    retryStrategy: reconnectDelayMs,
    // A demoted primary keeps its connections: connecting again follows the name to the new one.
    reconnectOnError: (error: Error) => replyCode(error) === 'READONLY',
  });
}

/** A client for pub/sub, which ends with its connection. */
export function newSubscriber(address: RedisAddress, node: RedisHost): Redis {
  return new Redis({
    ...common(address),
    ...target(address, node),
    commandTimeout: CALL_TIMEOUT_MS,
    retryStrategy: () => null,
  });
}

/** Doubles from attempt to attempt; the half of it is chance, so that engines do not come back in step. */
export function reconnectDelayMs(attempt: number): number {
  const full = Math.min(RECONNECT_FIRST_MS * 2 ** Math.min(attempt - 1, 16), RECONNECT_MOST_MS);
  return Math.round(full / 2 + (Math.random() * full) / 2);
}

/** One server, or the primary of the moment as the sentinels name it. */
function target(address: RedisAddress, node: RedisHost) {
  const { sentinel, tls } = address;
  if (sentinel === undefined) return { ...node, ...(tls === undefined ? {} : { tls }) };
  const { username, password } = sentinel.login;
  return {
    sentinels: [...address.hosts],
    name: sentinel.name,
    sentinelRetryStrategy: reconnectDelayMs,
    sentinelCommandTimeout: CONNECT_TIMEOUT_MS,
    ...(username === undefined ? {} : { sentinelUsername: username }),
    ...(password === undefined ? {} : { sentinelPassword: password }),
    ...(tls === undefined ? {} : { tls, sentinelTLS: tls, enableTLSForSentinelMode: true }),
  };
}

function common({ db, login }: RedisAddress) {
  return {
    db,
    ...login,
    lazyConnect: true,
    connectionName: 'flowops',
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: KEEP_ALIVE_MS,
    maxLoadingRetryTime: RECONNECT_MOST_MS,
    // Whatever waits when a connection closes is rejected then, and never sent again by the library.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
  };
}
