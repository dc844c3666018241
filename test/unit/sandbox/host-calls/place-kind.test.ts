import { hostOfGrant, kindOfHost, openingGrant, wordsOfHost } from '@flowops/sandbox/host-calls/place-kind.ts';
import { expect, test } from 'vitest';

test.each([
  ['slack.com', 'public'],
  ['1.1.1.1', 'public'],
  ['[2606:4700:4700::1111]', 'public'],
  ['internal.example.com', 'public'],
  ['127.0.0.1', 'machine'],
  ['[::1]', 'machine'],
  ['localhost', 'machine'],
  ['redis', 'machine'],
  ['db.internal', 'machine'],
  ['printer.local', 'machine'],
  ['10.0.0.5', 'private'],
  ['[fc00::1]', 'private'],
  ['[::ffff:10.0.0.5]', 'private'],
  ['169.254.0.7', 'special'],
  ['[fe80::1]', 'special'],
  ['224.0.0.1', 'special'],
  ['0.0.0.0', 'special'],
  ['169.254.169.254', 'metadata'],
  ['100.100.100.200', 'metadata'],
  ['[fd00:ec2::254]', 'metadata'],
  ['[::ffff:a9fe:a9fe]', 'metadata'],
  ['[64:ff9b::169.254.169.254]', 'metadata'],
  ['[::ffff:127.0.0.1]', 'machine'],
  ['metadata.google.internal', 'metadata'],
])('%s is %s', (host, kind) => {
  expect(kindOfHost(host)).toBe(kind);
});

test('a public place has no words, a name and an address of this machine have their own', () => {
  expect(wordsOfHost('slack.com')).toBeUndefined();
  expect(wordsOfHost('redis')).toBe('a name of this machine or its own network');
  expect(wordsOfHost('127.0.0.1')).toBe('this machine itself');
});

test.each([
  ['slack.com:443', 'slack.com', 'slack.com:443'],
  ['private:slack.com:443', 'slack.com', 'private:slack.com:443'],
  ['10.0.0.5:80', '10.0.0.5', 'private:10.0.0.5:80'],
  ['[::1]:80', '[::1]', 'private:[::1]:80'],
  ['private:[::1]:80', '[::1]', 'private:[::1]:80'],
])('%s has the host %s, and what opens it is %s', (text, host, grant) => {
  expect(hostOfGrant(text)).toBe(host);
  expect(openingGrant(text)).toBe(grant);
});
