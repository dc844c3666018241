/**
 * What kind of place an IP address is. The tables follow IANA's special-purpose address registries
 * (https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry) and add the addresses
 * at which clouds answer with credentials. Deterministic.
 *
 * An IPv6 address is global only inside 2000::/3, the one block that IANA gives out; forms that carry an IPv4 address
 * (mapped, NAT64, 6to4) are what they carry.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * `global`: routable everywhere. `private`: this machine, or a network of its owner. `special`: link-local, metadata
 * services, multicast, reserved, documentation; no name leads there for a good reason.
 */
export type AddressClass = 'global' | 'private' | 'special';

type Table = readonly (readonly [ipaddr.IPv4 | ipaddr.IPv6, number])[];

const ranges = (...texts: string[]): Table => texts.map((text) => ipaddr.parseCIDR(text));

const PRIVATE_4 = ranges('10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16');
const SPECIAL_4 = ranges(
  ...['0.0.0.0/8', '169.254.0.0/16', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '198.18.0.0/15'],
  ...['198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
  // Alibaba's metadata service, and the address at which Azure's host answers every virtual machine.
  ...['100.100.100.200/32', '168.63.129.16/32'],
);
const PRIVATE_6 = ranges('::1/128', 'fc00::/7');
const SPECIAL_6 = ranges(
  ...['2001::/23', '2001:db8::/32', '3fff::/20'],
  // Amazon's metadata service.
  'fd00:ec2::/32',
);
const GLOBAL_6 = ranges('2000::/3');

/** Prefix, and the byte at which an IPv4 address stands in it. */
const CARRIERS = [
  [ipaddr.parseCIDR('::ffff:0:0/96'), 12],
  [ipaddr.parseCIDR('64:ff9b::/96'), 12],
  // Local-use NAT64 (RFC 8215), with the one prefix length in use: the whole /96 of it.
  [ipaddr.parseCIDR('64:ff9b:1::/48'), 12],
  [ipaddr.parseCIDR('2002::/16'), 2],
] as const;

/** @param address as a socket or a resolver gives it, a zone (`%eth0`) allowed. What cannot be read is special. */
export function classifyAddress(address: string): AddressClass {
  const [text = ''] = address.split('%');
  // ipaddr.js reads short IPv4 forms, and the long abandoned `::1.2.3.4` as if it were mapped.
  if (isIP(text) === 0 || /^::\d+\./.test(text)) return 'special';
  const parsed = ipaddr.parse(text);
  return parsed instanceof ipaddr.IPv6 ? classify6(parsed) : classify4(parsed);
}

/** The IPv4 address that a mapped, NAT64 or 6to4 form carries; any other text as it is. */
export function plainAddress(address: string): string {
  if (isIP(address) !== 6) return address;
  const parsed = ipaddr.parse(address);
  return parsed instanceof ipaddr.IPv6 ? (carried(parsed)?.toString() ?? address) : address;
}

function carried(address: ipaddr.IPv6): ipaddr.IPv4 | undefined {
  const carrier = CARRIERS.find(([range]) => address.match(range));
  if (carrier === undefined) return undefined;
  const [, at] = carrier;
  return new ipaddr.IPv4(address.toByteArray().slice(at, at + 4));
}

function classify4(address: ipaddr.IPv4): AddressClass {
  if (isIn(address, SPECIAL_4)) return 'special';
  return isIn(address, PRIVATE_4) ? 'private' : 'global';
}

function classify6(address: ipaddr.IPv6): AddressClass {
  const inner = carried(address);
  if (inner !== undefined) return classify4(inner);
  if (isIn(address, SPECIAL_6)) return 'special';
  if (isIn(address, PRIVATE_6)) return 'private';
  return isIn(address, GLOBAL_6) ? 'global' : 'special';
}

function isIn(address: ipaddr.IPv4 | ipaddr.IPv6, table: Table): boolean {
  return table.some(([range, bits]) => address.kind() === range.kind() && address.match(range, bits));
}
