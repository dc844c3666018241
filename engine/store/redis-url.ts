/**
 * Reads REDIS_URL: `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS. Everything an operator can get
 * wrong is said here, and never with the password in it.
 */
import { FlowopsError } from '@flowops/proto/errors.ts';

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
  /** For messages: the address without the password. */
  readonly label: string;
}

const DEFAULT_PORT = 6379;
const FORM = 'it should be redis://HOST:PORT/DB (rediss:// for TLS)';

/** @throws FlowopsError CONFIG_INVALID */
export function parseRedisUrl(text: string): RedisAddress {
  if (text.includes(',')) {
    throw invalid(
      'names several hosts; Redis Cluster and Sentinel are not supported by this release: give one address',
    );
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw invalid(`is not a URL; ${FORM}`);
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') throw invalid(`begins with ${url.protocol}//; ${FORM}`);
  if (url.hostname === '') throw invalid(`has no host; ${FORM}`);
  if (url.search !== '' || url.hash !== '') throw invalid(`has more after the database number; ${FORM}`);
  const db = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (db === undefined) throw invalid(`has a database that is no number; ${FORM}`);

  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? DEFAULT_PORT : Number(url.port);
  return {
    host,
    port,
    db: Number(db),
    tls: url.protocol === 'rediss:',
    ...(url.username === '' ? {} : { username: decoded(url.username) }),
    ...(url.password === '' ? {} : { password: decoded(url.password) }),
    label: `${url.protocol}//${url.hostname}:${port}/${Number(db)}`,
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid('has a user or password with a % that encodes nothing; write it as %25');
  }
}

function invalid(what: string): FlowopsError {
  return new FlowopsError('CONFIG_INVALID', `REDIS_URL ${what}`);
}
