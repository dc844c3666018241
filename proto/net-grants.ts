/**
 * Places that a plugin asks for and a policy grants: `host:port` and `private:host:port`, matched exactly against the
 * host and port of a URL as the WHATWG parser reads it (lower case, IDNA, `0x7f.1` and `2130706433` as dotted numbers).
 * No wildcards, no DNS. What an address is that a name leads to is the sandbox host's business.
 */
import { isIP } from 'node:net';

const PRIVATE_PREFIX = 'private:';
const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };
/** What a host in a grant is made of; whatever else the URL parser would take for a path, a user or a query is none. */
const GRANT = /^([^\s/\\?#@]+):([1-9]\d{0,4})$/;

/** Where a request goes. */
export interface Target {
  readonly url: URL;
  /** `host:port`, an IPv6 address in brackets: the form of a grant. */
  readonly key: string;
  /** To be resolved and connected to: no brackets, no trailing dot. */
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** A host name has at most 253 characters. */
export const MAX_NET_GRANT_CHARS = 300;
export const MAX_PORT = 65_535;
/** The port is the group. */
export const NET_GRANT_FORM = /^(?:private:)?(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]):([1-9][0-9]{0,4})$/;

/** `host:port` or `private:host:port` as a grant and a manifest write it; compared as text, so there is one way to write it. */
export function isNetGrant(text: string): boolean {
  return text.length <= MAX_NET_GRANT_CHARS && NET_GRANT_FORM.test(text) && hasRealPort(text);
}

export function hasRealPort(text: string): boolean {
  return Number(NET_GRANT_FORM.exec(text)?.[1] ?? 0) <= MAX_PORT;
}

export interface NetGrant {
  readonly isPrivate: boolean;
  /** The grant names an address, not a name. */
  readonly isLiteral: boolean;
}

export type ReadTarget =
  | { readonly ok: true; readonly target: Target }
  /** `isUrl`: it is a URL, of a kind that no grant covers. */
  | { readonly ok: false; readonly isUrl: boolean; readonly problem: string };

/** @param base for the Location of a redirect. */
export function readTarget(text: string, base?: URL): ReadTarget {
  const url = URL.parse(text, base?.href);
  if (url === null) return { ok: false, isUrl: false, problem: 'this is no absolute URL' };
  const defaultPort = DEFAULT_PORTS[url.protocol];
  if (defaultPort === undefined) {
    return {
      ok: false,
      isUrl: true,
      problem: `only http: and https: go to the network, not ${url.protocol.slice(0, 32)}`,
    };
  }
  if (url.username !== '' || url.password !== '') {
    return { ok: false, isUrl: true, problem: 'a URL may not carry a user or password; send an Authorization header' };
  }
  const port = url.port === '' ? defaultPort : Number(url.port);
  const hostname = withoutDot(url.hostname);
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return { ok: true, target: { url, key: `${hostname}:${port}`, host, port, isTls: url.protocol === 'https:' } };
}

export class NetGrants {
  readonly #grants = new Map<string, NetGrant>();

  /** Texts that are no grant give nothing. A private grant of a place includes the plain one. */
  constructor(net: readonly string[]) {
    for (const text of net) {
      const isPrivate = text.startsWith(PRIVATE_PREFIX);
      const key = keyOf(isPrivate ? text.slice(PRIVATE_PREFIX.length) : text);
      if (key === undefined || this.#grants.get(key)?.isPrivate === true) continue;
      this.#grants.set(key, {
        isPrivate,
        isLiteral: isIP(key.slice(0, key.lastIndexOf(':')).replace(/^\[|\]$/g, '')) > 0,
      });
    }
  }

  get isEmpty(): boolean {
    return this.#grants.size === 0;
  }

  find(target: Target): NetGrant | undefined {
    return this.#grants.get(target.key);
  }

  /** As a person would write them, for messages. */
  get texts(): string[] {
    return [...this.#grants].map(([key, { isPrivate }]) => (isPrivate ? PRIVATE_PREFIX + key : key));
  }
}

/** `host:port` in the form that URLs give it; undefined for what is none. */
function keyOf(text: string): string | undefined {
  const [, host, port] = GRANT.exec(text) ?? [];
  if (host === undefined || port === undefined || Number(port) > MAX_PORT) return undefined;
  const url = URL.parse(`http://${host}:${port}/`);
  return url === null || url.hostname === '' ? undefined : `${withoutDot(url.hostname)}:${port}`;
}

/** `slack.com.` is the same place as `slack.com`. */
function withoutDot(hostname: string): string {
  return hostname.endsWith('.') ? hostname.slice(0, -1) : hostname;
}
