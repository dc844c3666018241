/**
 * What kind of place a host of a grant or a URL is, in words for a person, by its text alone: nothing is resolved here.
 * What may be reached is decided by the socket's own address (connect.ts, net-grants.ts), never by this. Deterministic.
 */
import { isIP } from 'node:net';
import { type AddressClass, classifyAddress, plainAddress } from './addresses.ts';

export type PlaceKind = 'public' | 'machine' | 'private' | 'special' | 'metadata';

const PRIVATE_PREFIX = 'private:';
/** Where clouds answer with credentials of the machine: Amazon, Google, Azure, Oracle, DigitalOcean; Alibaba; Azure's host; Amazon by IPv6. */
const METADATA_ADDRESSES: ReadonlySet<string> = new Set([
  ...['169.254.169.254', '169.254.170.2', '169.254.170.23', '100.100.100.200', '168.63.129.16'],
  ...['fd00:ec2::254', 'fd00:ec2::23'],
]);
const METADATA_NAMES: ReadonlySet<string> = new Set([
  ...['metadata', 'metadata.google.internal', 'metadata.goog', 'instance-data', 'instance-data.ec2.internal'],
]);
/** Names that no public server answers for: RFC 6761, 6762, 8375, ICANN's .internal; and names without a dot. */
const LOCAL_NAME = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home\.arpa)$|^[^.:]+$/;

const WORDS: Readonly<Record<Exclude<PlaceKind, 'public'>, string>> = {
  machine: 'this machine itself',
  private: 'a private address',
  special: 'an address for special use (link-local, multicast, reserved)',
  metadata: 'where a cloud gives the credentials of this machine to whoever asks',
};
const NAME_WORDS = 'a name of this machine or its own network';

/** @param host of a grant or a URL: an IPv6 address in brackets or not, a name in lower case. */
export function kindOfHost(host: string): PlaceKind {
  const bare = plainAddress(host.replace(/^\[|\]$/g, ''));
  if (METADATA_ADDRESSES.has(bare) || METADATA_NAMES.has(bare)) return 'metadata';
  if (isIP(bare) > 0) return kindOfClass(bare, classifyAddress(bare));
  return LOCAL_NAME.test(bare) ? 'machine' : 'public';
}

function kindOfClass(address: string, found: AddressClass): PlaceKind {
  if (found === 'global') return 'public';
  if (found === 'private' && (address.startsWith('127.') || address === '::1')) return 'machine';
  return found;
}

/** "a private address"; undefined for a public place. */
export function wordsOfHost(host: string): string | undefined {
  const kind = kindOfHost(host);
  if (kind === 'public') return undefined;
  return kind === 'machine' && isName(host) ? NAME_WORDS : WORDS[kind];
}

/** Not an address. */
export function isName(host: string): boolean {
  return isIP(host.replace(/^\[|\]$/g, '')) === 0;
}

/** Of `host:port` or `private:host:port`, as grants write it. */
export function hostOfGrant(text: string): string {
  const place = text.startsWith(PRIVATE_PREFIX) ? text.slice(PRIVATE_PREFIX.length) : text;
  return place.slice(0, place.lastIndexOf(':'));
}

/** What a grant of this place would have to say to open it. */
export function openingGrant(text: string): string {
  if (text.startsWith(PRIVATE_PREFIX) || kindOfHost(hostOfGrant(text)) === 'public') return text;
  return PRIVATE_PREFIX + text;
}
