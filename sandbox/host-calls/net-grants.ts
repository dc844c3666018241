/**
 * The policy's allow-list: `host:port` and `private:host:port`, matched exactly against the host and port of a URL as
 * the WHATWG parser reads it (lower case, IDNA, `0x7f.1` and `2130706433` as dotted numbers). No wildcards, no DNS.
 */
import { isIP } from 'node:net';
import type { AddressClass } from './addresses.ts';

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

/** A name leads to private addresses only by a private grant, and to special ones never: those are to be named. */
export function mayReach(grant: NetGrant, address: AddressClass): boolean {
  switch (address) {
    case 'global':
      return true;
    case 'private':
      return grant.isPrivate;
    case 'special':
      return grant.isPrivate && grant.isLiteral;
  }
}

/** `host:port` in the form that URLs give it; undefined for what is none. */
function keyOf(text: string): string | undefined {
  const [, host, port] = GRANT.exec(text) ?? [];
  if (host === undefined || port === undefined || Number(port) > 65_535) return undefined;
  const url = URL.parse(`http://${host}:${port}/`);
  return url === null || url.hostname === '' ? undefined : `${withoutDot(url.hostname)}:${port}`;
}

/** `slack.com.` is the same place as `slack.com`. */
function withoutDot(hostname: string): string {
  return hostname.endsWith('.') ? hostname.slice(0, -1) : hostname;
}
