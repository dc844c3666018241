/**
 * A name whose DNS server answers one thing to whoever looks and another to whoever connects: over real UDP and real
 * sockets, what counts is the address at the other end of the socket, and the name is asked for once only.
 */

import { createSocket, type Socket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { openConnection } from '../../sandbox/host-calls/connect.ts';
import { hostCallClient } from '../support/host-call-client.ts';

const NAME = 'rebinds.example';

let dns: Socket;
let resolver: Resolver;
let server: Server;
let port = 0;
let asked = 0;
let accepted = 0;
let received = 0;
/** What it answers to the first query, the second one, and so on; the last for all that follow. */
let answers: readonly (readonly string[])[] = [];

beforeAll(async () => {
  dns = createSocket('udp4', (query, { port: from }) => {
    const addresses = answers[Math.min(asked++, answers.length - 1)] ?? [];
    dns.send(dnsAnswer(query, addresses), from, '127.0.0.1');
  });
  dns.bind(0, '127.0.0.1');
  await once(dns, 'listening');
  resolver = new Resolver();
  resolver.setServers([`127.0.0.1:${dns.address().port}`]);
  server = createServer((socket) => {
    accepted++;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      received += chunk.length;
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ninside');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
beforeEach(() => {
  asked = 0;
  accepted = 0;
  received = 0;
});
afterEach(() => resolver.cancel());
afterAll(() => {
  dns.close();
  server.close();
});

const resolve = (host: string) => resolver.resolve4(host);
const url = () => `http://${NAME}:${port}/`;
const clientOf = (net: readonly string[]) => hostCallClient({ net, network: { resolve, connectMs: 2_000 } });

test('a public name that leads to a private address is refused, and nobody is connected to', async () => {
  answers = [['127.0.0.1']];
  expect(await clientOf([`${NAME}:${port}`]).fetch(url())).toMatchObject({
    code: 'POLICY_DENIED',
    message: expect.stringContaining('127.0.0.1'),
  });
  expect([asked, accepted]).toEqual([1, 0]);
});

test('one that answers another address to a second question is not asked it: what was looked at is connected to', async () => {
  // Nobody listens on the first; the second would be reached by whoever asks again in order to connect.
  answers = [['127.0.0.2'], ['127.0.0.1']];
  const answer = await clientOf([`private:${NAME}:${port}`]).fetch(url());
  expect(answer).toMatchObject({ ok: false, message: expect.stringContaining('refused') });
  expect([asked, accepted]).toEqual([1, 0]);
});

test('every request looks anew: what was fine a moment ago is not remembered', async () => {
  answers = [['127.0.0.1'], ['169.254.169.254'], ['0.0.0.0']];
  const client = clientOf([`private:${NAME}:${port}`]);
  expect(await client.fetch(url())).toMatchObject({ ok: true, status: 200 });
  expect(await client.fetch(url())).toMatchObject({ code: 'POLICY_DENIED' });
  expect(await client.fetch(url())).toMatchObject({ code: 'POLICY_DENIED' });
  expect([asked, accepted]).toEqual([3, 1]);
});

test('where the address that was looked at is not the one at the socket, the socket counts and nothing is sent', async () => {
  answers = [['127.0.0.1']];
  // As if the first look had seen another one: an address translated on its way, or a resolver that was believed.
  let looks = 0;
  const connected = await openConnection(
    { url: new URL(url()), key: `${NAME}:${port}`, host: NAME, port, isTls: false },
    {
      resolve,
      allows: (kind) => looks++ === 0 || kind === 'global',
      timeoutMs: 2_000,
      signal: new AbortController().signal,
    },
  );
  expect(connected).toEqual({ ok: false, kind: 'address', address: '127.0.0.1', isSpecial: false });
  expect([asked, looks]).toEqual([1, 2]);
  await expect.poll(() => accepted).toBe(1);
  expect(received).toBe(0);
});

test('a name that leads to a private place is reached where that place is granted as private', async () => {
  answers = [['127.0.0.1']];
  const answer = await clientOf([`private:${NAME}:${port}`]).fetch(url());
  expect(answer).toMatchObject({ ok: true, status: 200 });
  expect(answer.ok && answer.body.toString()).toBe('inside');
});

/** The question again, and an A record for each address, good for no second (RFC 1035, section 4). */
function dnsAnswer(query: Buffer, addresses: readonly string[]): Buffer {
  const end = query.indexOf(0, 12) + 5;
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8180, 2);
  header.writeUInt16BE(addresses.length, 6);
  header.writeUInt32BE(0, 8);
  const records = addresses.map((address) =>
    Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]),
  );
  return Buffer.concat([header, query.subarray(12, end), ...records]);
}
