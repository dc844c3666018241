/**
 * The headers of a plugin's request: which of them are ours, and what a redirect takes away (Fetch standard,
 * https://fetch.spec.whatwg.org/#http-redirect-fetch). Deterministic.
 */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** They steer the connection, which is ours; dropped without a word, as the Fetch standard does. */
const OURS: ReadonlySet<string> = new Set([
  ...['accept-encoding', 'connection', 'content-length', 'expect', 'host', 'http2-settings', 'keep-alive', 'te'],
  ...['trailer', 'transfer-encoding', 'upgrade', 'via'],
]);
const PROXY_PREFIX = 'proxy-';
/** What says who is asking. */
const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'cookie', 'cookie2']);
/** They describe a body that a redirect dropped. */
const ABOUT_BODY: ReadonlySet<string> = new Set([
  ...['content-encoding', 'content-language', 'content-location', 'content-type'],
]);
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Visible characters, space and tab, and bytes above ASCII: RFC 9110, 5.5. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** The name of a header that HTTP does not know how to write, or undefined. */
export function findBadHeader(headers: HeaderList): string | undefined {
  return headers.find(([name, value]) => !TOKEN.test(name) || !VALUE.test(value))?.[0];
}

/** Lower-case names, without what is ours. */
export function ownHeaders(headers: HeaderList): HeaderList {
  return headers
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => !OURS.has(name) && !name.startsWith(PROXY_PREFIX));
}

/** @param holdsSecret for values that hold a secret under any name. */
export function withoutCredentials(headers: HeaderList, holdsSecret: (value: string) => boolean): HeaderList {
  return headers.filter(([name, value]) => !CREDENTIALS.has(name) && !holdsSecret(value));
}

export function withoutBodyHeaders(headers: HeaderList): HeaderList {
  return headers.filter(([name]) => !ABOUT_BODY.has(name));
}

/** One entry for each name, as HTTP joins them. */
export function joinHeaders(headers: HeaderList): Map<string, string> {
  const joined = new Map<string, string>();
  for (const [name, value] of headers) {
    const before = joined.get(name);
    joined.set(name, before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`);
  }
  return joined;
}
