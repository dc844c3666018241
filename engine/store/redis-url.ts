/**
 * Reads REDIS_URL. Everything an operator can get wrong is said here, and never with the password in it.
 *
 *   redis://[user[:password]@]host[:port][/db]                       one server (or any node of a cluster)
 *   redis://[user[:password]@]host[:port],host[:port],…              Redis Cluster: nodes to begin with
 *   redis://[user[:password]@]host[:port],…[/db]?sentinel=NAME       the primary that these sentinels call NAME
 *
 * `rediss://` is the same over TLS, to the sentinels too. User and password are those of the data nodes.
 */
import { FlowopsError } from '@flowops/proto/errors.ts';

export interface RedisHost {
  readonly host: string;
  readonly port: number;
}

export interface RedisLogin {
  readonly username?: string;
  readonly password?: string;
}

export interface RedisTls {
  /** PEM. Without it the authorities that Node trusts. */
  readonly ca?: string;
  /** PEM of the certificate the engine shows, with its key. */
  readonly cert?: string;
  readonly key?: string;
}

export interface RedisAddress {
  /** At least one; with `sentinel` those of the sentinels. */
  readonly hosts: readonly [RedisHost, ...RedisHost[]];
  readonly db: number;
  readonly login: RedisLogin;
  readonly tls?: RedisTls;
  /** The name by which sentinels know the primary. */
  readonly sentinel?: { readonly name: string; readonly login: RedisLogin };
  /** For messages: the address without the password. */
  readonly label: string;
}

/** What is not in the URL: settings of their own, because they are long or secret. */
export interface RedisUrlExtras {
  readonly tls?: RedisTls;
  readonly sentinelLogin?: RedisLogin;
}

const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26_379;
const FORM =
  'it should be redis://HOST:PORT/DB, redis://HOST:PORT,HOST:PORT for a cluster, or redis://HOST:PORT,HOST:PORT/DB?sentinel=NAME (rediss:// for TLS)';
/** Scheme, user and password, hosts, database, query. */
const PARTS = /^([a-z][a-z0-9+.-]*):\/\/(?:([^/?#]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?(#.*)?$/i;
/** A name, an IPv4 address or a bracketed IPv6 address, and perhaps a port. */
const HOST = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/i;

/** @throws FlowopsError CONFIG_INVALID */
export function parseRedisUrl(text: string, extras: RedisUrlExtras = {}): RedisAddress {
  const [, scheme, user, hosts, database = '', query, fragment] = PARTS.exec(text) ?? [];
  if (scheme === undefined || hosts === undefined) throw invalid(`is not a URL; ${FORM}`);
  if (scheme !== 'redis' && scheme !== 'rediss') throw invalid(`begins with ${scheme}://; ${FORM}`);
  if (hosts === '') throw invalid(`has no host; ${FORM}`);
  const name = sentinelName(query, fragment);
  if (!/^\d{0,5}$/.test(database)) throw invalid(`has a database that is no number; ${FORM}`);
  const db = Number(database);
  const defaultPort = name === undefined ? DEFAULT_PORT : DEFAULT_SENTINEL_PORT;
  const [first, ...others] = hosts.split(',').map((host) => parseHost(host, defaultPort));
  if (first === undefined) throw invalid(`has no host; ${FORM}`);
  if (others.length > 0 && name === undefined && db !== 0) {
    throw invalid(
      'names several hosts and a database: a cluster has only database 0 (for sentinels add ?sentinel=NAME)',
    );
  }
  const tls = tlsOf(scheme === 'rediss', extras.tls);
  const shown = [first, ...others].map(hostLabel).join(',');
  return {
    hosts: [first, ...others],
    db,
    login: parseLogin(user),
    ...(tls === undefined ? {} : { tls }),
    ...(name === undefined ? {} : { sentinel: { name, login: extras.sentinelLogin ?? {} } }),
    label: `${scheme}://${shown}/${db}${name === undefined ? '' : `?sentinel=${name}`}`,
  };
}

/** The same server side by side with its others: a node of a cluster. */
export function nodeAddress(cluster: RedisAddress, node: RedisHost): RedisAddress {
  const { login, tls } = cluster;
  const label = `${tls === undefined ? 'redis' : 'rediss'}://${hostLabel(node)}`;
  return { hosts: [node], db: 0, login, ...(tls === undefined ? {} : { tls }), label };
}

export function hostLabel({ host, port }: RedisHost): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function sentinelName(query: string | undefined, fragment: string | undefined): string | undefined {
  if (fragment !== undefined) throw invalid(`has more after the database number; ${FORM}`);
  if (query === undefined || query === '') return undefined;
  const name = /^sentinel=([A-Za-z0-9._-]{1,128})$/.exec(query)?.[1];
  if (name === undefined) throw invalid(`has more after the database number than ?sentinel=NAME; ${FORM}`);
  return name;
}

function parseHost(text: string, defaultPort: number): RedisHost {
  const [, ipv6, name, digits] = HOST.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = digits === undefined ? defaultPort : Number(digits);
  if (host === undefined || port < 1 || port > 65_535) throw invalid(`has a host that is no HOST:PORT; ${FORM}`);
  return { host, port };
}

function parseLogin(user: string | undefined): RedisLogin {
  if (user === undefined || user === '') return {};
  const colon = user.indexOf(':');
  const username = decoded(colon === -1 ? user : user.slice(0, colon));
  const password = colon === -1 ? '' : decoded(user.slice(colon + 1));
  return { ...(username === '' ? {} : { username }), ...(password === '' ? {} : { password }) };
}

function tlsOf(isTls: boolean, given: RedisTls | undefined): RedisTls | undefined {
  const names = Object.entries(given ?? {}).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (!isTls && names.length > 0) {
    const settings = names.map((name) => `REDIS_TLS_${name.toUpperCase()}`).join(' and ');
    throw invalid(`begins with redis://, which is not encrypted, but ${settings} is set: write rediss://, or unset it`);
  }
  if ((given?.cert === undefined) !== (given?.key === undefined)) {
    throw new FlowopsError('CONFIG_INVALID', 'REDIS_TLS_CERT and REDIS_TLS_KEY belong together: set both or none');
  }
  return isTls ? (given ?? {}) : undefined;
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
