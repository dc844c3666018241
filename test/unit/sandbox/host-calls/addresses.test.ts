import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classifyAddress } from '../../../../sandbox/host-calls/addresses.ts';

const byte = fc.integer({ min: 0, max: 255 });
const ipv4 = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'));
const hex = (a = 0, b = 0) => ((a << 8) | b).toString(16);
const groups = (address: string): string => {
  const [a, b, c, d] = address.split('.').map(Number);
  return `${hex(a, b)}:${hex(c, d)}`;
};

describe('an address', () => {
  it.each([
    ...['8.8.8.8', '1.1.1.1', '100.63.255.255', '100.128.0.0', '172.15.255.255', '172.32.0.0', '192.0.1.0'],
    ...['223.255.255.255', '169.253.255.255', '198.17.255.255', '198.20.0.0'],
    ...['2606:4700::1111', '2001:4860:4860::8888', '2a00::1', '::ffff:8.8.8.8', '64:ff9b::808:808', '2002:808:808::1'],
  ])('%s is global', (address) => {
    expect(classifyAddress(address)).toBe('global');
  });

  it.each([
    ...['10.0.0.0', '10.255.255.255', '100.64.0.1', '127.0.0.1', '127.255.255.255', '172.16.0.1', '172.31.255.255'],
    ...['192.168.0.1', '::1', 'fc00::1', 'fdff::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '64:ff9b::a00:1'],
    ...['2002:a00:1::1', '64:ff9b:1::10.0.0.1', '::FFFF:10.0.0.1'],
  ])('%s is private', (address) => {
    expect(classifyAddress(address)).toBe('private');
  });

  it.each([
    ...['0.0.0.0', '0.255.255.255', '169.254.169.254', '192.0.0.1', '192.0.0.192', '192.0.2.1', '192.88.99.1'],
    ...['198.18.0.1', '198.19.255.255', '198.51.100.1', '203.0.113.1', '224.0.0.1', '239.255.255.255', '240.0.0.1'],
    ...['255.255.255.255', '168.63.129.16', '100.100.100.200'],
    ...['::', 'fe80::1', 'fe80::1%eth0', 'fec0::1', 'ff02::1', '2001::1', '2001:db8::1', '2001:1ff::1', '3fff::1'],
    ...['100::1', '5f00::1', 'fd00:ec2::254', '::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1'],
    ...['::127.0.0.1', '4000::1', '64:ff9b:2::1', '64:ff9b:1::a9fe:a9fe'],
    ...['', 'localhost', '1.2.3', '256.1.1.1', 'not an address', '1.2.3.4.5', ':::1'],
  ])('%s is special', (address) => {
    expect(classifyAddress(address)).toBe('special');
  });

  it('is what the IPv4 address in it is, whichever way it is carried', () => {
    fc.assert(
      fc.property(ipv4, (address) => {
        const own = classifyAddress(address);
        expect(classifyAddress(`::ffff:${address}`)).toBe(own);
        expect(classifyAddress(`::ffff:${groups(address)}`)).toBe(own);
        expect(classifyAddress(`64:ff9b::${groups(address)}`)).toBe(own);
        expect(classifyAddress(`2002:${groups(address)}::1`)).toBe(own);
      }),
    );
  });

  it('outside 2000::/3 is never global unless it carries an IPv4 address', () => {
    const group = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16));
    const first = fc
      .integer({ min: 0, max: 0xffff })
      .filter((value) => value >> 13 !== 1 && value !== 0 && value !== 0x64);
    fc.assert(
      fc.property(first, fc.array(group, { minLength: 7, maxLength: 7 }), (head, rest) => {
        expect(classifyAddress([head.toString(16), ...rest].join(':'))).not.toBe('global');
      }),
    );
  });
});
