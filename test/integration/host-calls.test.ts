/** Host calls over real sockets: what is granted arrives whole, what is not never leaves, whatever a server answers. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { canary, hostCallClient } from '../support/host-call-client.ts';
import { type LocalServer, localServers } from '../support/http-servers.ts';

const servers = localServers();
const MIB = 1024 * 1024;
const granting = (...targets: LocalServer[]) => targets.map(({ place }) => `private:${place}`);

describe('a granted request', () => {
  it('arrives as the plugin wrote it, with the headers of the connection being ours', async () => {
    const server = await servers.http((_, response) => {
      response.writeHead(201, 'Made', { 'X-A': 'b', 'Set-Cookie': ['a=1', 'b=2'] }).end('answer ü');
    });
    const client = hostCallClient({ net: granting(server) });
    const answer = await client.fetch(`${server.origin}/path?q=1#part`, {
      method: 'POST',
      headers: [
        ['Host', 'evil.example'],
        ['Content-Length', '999'],
        ['Transfer-Encoding', 'chunked'],
        ['Connection', 'upgrade'],
        ['Proxy-Authorization', 'x'],
        ['X-Own', 'one'],
        ['x-own', 'two'],
      ],
      body: 'sent ü',
    });
    expect(answer).toMatchObject({ ok: true, status: 201, url: `${server.origin}/path?q=1`, redirected: false });
    expect(answer.ok && answer.body.toString()).toBe('answer ü');
    const [seen] = server.seen;
    expect(seen).toMatchObject({ method: 'POST', url: '/path?q=1', body: 'sent ü' });
    expect(seen?.headers).toEqual({
      host: server.place,
      'x-own': 'one, two',
      accept: '*/*',
      'user-agent': 'flowops',
      'accept-encoding': 'gzip, deflate, br, zstd',
      connection: 'close',
      'content-length': '7',
    });
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['gzip, br', (bytes: Buffer) => brotliCompressSync(gzipSync(bytes))],
    ['GZIP', gzipSync],
    ['identity', (bytes: Buffer) => bytes],
    ['unheard-of', (bytes: Buffer) => bytes],
  ])('is answered with the body after %s', async (coding, encode) => {
    const text = 'the same text again and again '.repeat(1000);
    const server = await servers.http((_, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end(encode(Buffer.from(text)));
    });
    const answer = await hostCallClient({ net: granting(server) }).fetch(server.origin);
    expect(answer.ok && answer.body.toString() === text).toBe(true);
  });

  it('to HEAD, 204 and 304 has no body', async () => {
    const server = await servers.http(({ method, url }, response) => {
      response.writeHead(method === 'HEAD' ? 200 : Number(url.slice(1)), { 'content-encoding': 'gzip' }).end();
    });
    const client = hostCallClient({ net: granting(server) });
    for (const answer of [
      await client.fetch(server.origin, { method: 'HEAD' }),
      await client.fetch(`${server.origin}/204`),
      await client.fetch(`${server.origin}/304`),
    ]) {
      expect(answer).toMatchObject({ ok: true, body: Buffer.alloc(0) });
    }
  });

  it('is metered by place, and leaves no connection behind', async () => {
    const server = await servers.http((_, response) => response.end('x'.repeat(1000)));
    const client = hostCallClient({ net: granting(server) });
    await client.fetch(server.origin, { method: 'POST', body: 'y'.repeat(500) });
    await client.fetch(`${server.origin}/twice`);
    const { net, hostCalls } = client.calls.figures();
    expect(hostCalls).toBe(2);
    expect(net).toEqual([
      {
        host: server.place,
        calls: 2,
        bytesOut: expect.any(Number),
        bytesIn: expect.any(Number),
        ms: expect.any(Number),
      },
    ]);
    expect(net[0]?.bytesOut).toBeGreaterThan(500);
    expect(net[0]?.bytesIn).toBeGreaterThan(2000);
    await expect.poll(() => server.connections()).toBe(0);
  });

  it('waits its turn when many are open, and each is answered', async () => {
    let open = 0;
    let most = 0;
    const server = await servers.http((_, response) => {
      most = Math.max(most, ++open);
      setImmediate(() => {
        open--;
        response.end('ok');
      });
    });
    const client = hostCallClient({ net: granting(server), network: { maxOpen: 3 } });
    const answers = await Promise.all(Array.from({ length: 50 }, () => client.fetch(server.origin)));
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect(most).toBeLessThanOrEqual(3);
  });
});

describe('a refused request', () => {
  it('names the place and the line to add, and nothing of it leaves', async () => {
    const server = await servers.http((_, response) => response.end());
    const client = hostCallClient({ net: ['api.example.com:443'] });
    expect(await client.fetch(`${server.origin}/`)).toEqual({
      ok: false,
      code: 'POLICY_DENIED',
      message:
        `acme.test asked for ${server.place}, this machine itself; rule 1 (policy.yaml:3) grants api.example.com:443 only. ` +
        `To allow: grants: { net: ["private:${server.place}"] }, and in the plugin: permissions: { net: ["private:${server.place}"] }`,
    });
    expect(server.connections()).toBe(0);
  });

  it('of a private address says how to grant it, also where a name leads there', async () => {
    const server = await servers.http((_, response) => response.end());
    const plain = hostCallClient({
      net: [server.place, `inside.example:${server.port}`],
      network: { resolve: async () => ['127.0.0.1'] },
    });
    expect(await plain.fetch(`${server.origin}/`)).toMatchObject({
      code: 'POLICY_DENIED',
      message: expect.stringContaining(`To allow: grants: { net: ["private:${server.place}"] }`),
    });
    expect(await plain.fetch(`http://inside.example:${server.port}/`)).toMatchObject({
      code: 'POLICY_DENIED',
      message: expect.stringMatching(
        /inside.example:\d+, which is 127.0.0.1 here, this machine itself; .* \["private:inside/,
      ),
    });
    expect(server.connections()).toBe(0);
    const granted = hostCallClient({
      net: [`private:inside.example:${server.port}`],
      network: { resolve: async () => ['127.0.0.1'] },
    });
    expect(await granted.fetch(`http://inside.example:${server.port}/`)).toMatchObject({ ok: true, status: 200 });
    expect(server.seen.at(-1)?.headers.host).toBe(`inside.example:${server.port}`);
  });

  it('goes to the public ones of several addresses only', async () => {
    const server = await servers.http((_, response) => response.end());
    const resolve = async () => ['127.0.0.1', '::1', '10.0.0.1', '169.254.169.254'];
    const client = hostCallClient({ net: [`mixed.example:${server.port}`], network: { resolve } });
    expect(await client.fetch(`http://mixed.example:${server.port}/`)).toMatchObject({ code: 'POLICY_DENIED' });
    expect(server.connections()).toBe(0);
  });

  it('tries the granted addresses of a name one after the other', async () => {
    const server = await servers.http((_, response) => response.end('reached'));
    const resolve = async () => ['127.0.0.2', '169.254.169.254', '127.0.0.1'];
    const client = hostCallClient({ net: [`private:two.example:${server.port}`], network: { resolve } });
    const answer = await client.fetch(`http://two.example:${server.port}/`);
    expect(answer.ok && answer.body.toString()).toBe('reached');
  });

  it('waits no longer for a name than for a connection', async () => {
    const never = () => new Promise<readonly string[]>(() => {});
    const client = hostCallClient({ net: ['slow.example:80'], network: { resolve: never, connectMs: 50 } });
    expect(await client.fetch('http://slow.example/')).toMatchObject({
      code: 'PLUGIN_ERROR',
      message: 'slow.example:80 could not be reached: no connection within 50 ms',
    });
  });

  it.each([
    ['ftp://a.example/', 'POLICY_DENIED'],
    ['http://u:p@a.example/', 'POLICY_DENIED'],
    ['/relative', 'PLUGIN_ERROR'],
    ['http://', 'PLUGIN_ERROR'],
  ])('%s ends with %s', async (url, code) => {
    expect(await hostCallClient({ net: ['a.example:80'] }).fetch(url)).toMatchObject({ ok: false, code });
  });

  it.each([
    ['CONNECT', {}],
    ['TRACE', {}],
    ['GET', { body: 'x' }],
    ['GET', { headers: [['x', 'a\r\nhost: evil']] as [string, string][] }],
    ['get', {}],
  ])('%s with %j is no request', async (method, init) => {
    const server = await servers.http((_, response) => response.end());
    const client = hostCallClient({ net: granting(server) });
    expect(await client.fetch(server.origin, { method, ...init })).toMatchObject({ ok: false, code: 'PLUGIN_ERROR' });
    expect(server.seen).toEqual([]);
  });
});

describe('a redirect', () => {
  it('is followed within the grants, and loses credentials with the origin', async () => {
    const secret = canary();
    const last = await servers.http((_, response) => response.end('there'));
    const first = await servers.http((_, response) => response.writeHead(307, { location: `${last.origin}/b` }).end());
    const client = hostCallClient({
      net: granting(first, last),
      secretGrants: [{ name: 'KEY', hosts: granting(first) }],
      secrets: { KEY: secret },
    });
    await client.secret('KEY');
    const headers: [string, string][] = [
      ['Authorization', 'Bearer x'],
      ['Cookie', 'a=b'],
      ['X-Api-Key', secret],
      ['X-Trace', 't'],
    ];
    const answer = await client.fetch(`${first.origin}/a`, { method: 'PUT', headers, body: 'kept' });
    expect(answer).toMatchObject({ ok: true, url: `${last.origin}/b`, redirected: true });
    expect(first.seen[0]?.headers).toMatchObject({ authorization: 'Bearer x', 'x-api-key': secret });
    expect(last.seen[0]).toMatchObject({ method: 'PUT', body: 'kept', headers: { 'x-trace': 't' } });
    for (const name of ['authorization', 'cookie', 'x-api-key']) expect(last.seen[0]?.headers).not.toHaveProperty(name);
  });

  it('to a place that is not granted is refused by name, and is never connected to', async () => {
    const outside = await servers.http((_, response) => response.end());
    const server = await servers.http((_, response) => response.writeHead(302, { location: outside.origin }).end());
    const client = hostCallClient({ net: granting(server) });
    expect(await client.fetch(server.origin)).toMatchObject({
      code: 'POLICY_DENIED',
      message: expect.stringContaining(`was redirected by ${server.place} to ${outside.place}`),
    });
    expect(outside.connections() + outside.seen.length).toBe(0);
  });

  it('without end ends', async () => {
    const server = await servers.http(({ url }, response) => response.writeHead(302, { location: `${url}x` }).end());
    const client = hostCallClient({ net: granting(server) });
    expect(await client.fetch(server.origin)).toMatchObject({ message: expect.stringMatching(/more than 10 times/) });
    expect(server.seen).toHaveLength(11);
  });

  it('is the answer where the plugin wants it, and an error where it wants none', async () => {
    const server = await servers.http((_, response) => response.writeHead(302, { location: '/x' }).end('body'));
    const client = hostCallClient({ net: granting(server) });
    const manual = await client.fetch(server.origin, { redirect: 'manual' });
    expect(manual.ok && [manual.status, manual.headers.get('location'), manual.body.toString()]).toEqual([
      302,
      '/x',
      'body',
    ]);
    expect(await client.fetch(server.origin, { redirect: 'error' })).toMatchObject({ ok: false, code: 'PLUGIN_ERROR' });
  });
});

describe('an answer', () => {
  it('of 1 GB is given up at the cap', async () => {
    let sent = 0;
    const server = await servers.http((_, response) => {
      const chunk = Buffer.alloc(256 * 1024);
      const write = (): void => {
        while (!response.destroyed && sent < 1024 * MIB) {
          sent += chunk.length;
          if (!response.write(chunk)) {
            response.once('drain', write);
            return;
          }
        }
        response.end();
      };
      write();
    });
    const client = hostCallClient({ net: granting(server) });
    const answer = await client.fetch(server.origin);
    expect(answer).toMatchObject({ ok: false, code: 'PLUGIN_ERROR', message: expect.stringMatching(/8388608 bytes/) });
    expect(sent).toBeLessThan(32 * MIB);
    await expect.poll(() => server.connections()).toBe(0);
  });

  it.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['deflate', deflateRawSync],
    ['gzip, gzip', (bytes: Buffer) => gzipSync(gzipSync(bytes))],
  ])('that is a bomb in %s is given up at the cap', async (coding, encode) => {
    const bomb = encode(Buffer.alloc(256 * MIB));
    expect(bomb.length).toBeLessThan(MIB);
    const server = await servers.http((_, response) =>
      response.writeHead(200, { 'content-encoding': coding }).end(bomb),
    );
    const client = hostCallClient({ net: granting(server) });
    const before = process.memoryUsage().rss;
    expect(await client.fetch(server.origin)).toMatchObject({
      ok: false,
      message: expect.stringMatching(/8388608 bytes/),
    });
    expect(process.memoryUsage().rss - before).toBeLessThan(128 * MIB);
    expect(client.calls.figures().net[0]?.bytesIn).toBeLessThan(16 * MIB);
  });

  it.each([
    ['endless chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'],
    ['a byte now and then', 'HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n', 'x'],
    ['a head that never ends', 'HTTP/1.1 200 OK\r\n', 'a'],
    ['interim answers without end', '', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
    ['nothing', '', ''],
  ])('of %s ends with the time of the call', async (_, head, drip) => {
    const server = await servers.raw(
      createServer((socket) => {
        socket.resume().write(head);
        const timer = setInterval(() => socket.write(drip), 20);
        socket.once('close', () => clearInterval(timer));
      }),
    );
    const client = hostCallClient({ net: granting(server), network: { callMs: 300 } });
    const startedAt = performance.now();
    expect(await client.fetch(server.origin)).toMatchObject({
      ok: false,
      code: 'PLUGIN_ERROR',
      message: `${server.place} did not answer in full within 300 ms`,
    });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(299);
    await expect.poll(() => server.connections()).toBe(0);
  });

  it.each([
    ['headers beyond every bound', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(200_000)}\r\n\r\n`],
    ['one long header', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}\r\ncontent-length: 0\r\n\r\n`],
    ['many headers', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(500)}content-length: 0\r\n\r\n`],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
    ['another protocol', 'SSH-2.0-OpenSSH_9\r\n'],
    ['a change of protocol', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
    ['a body that ends early', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc'],
    ['a broken gzip', 'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc'],
    ['a status that is none', 'HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n'],
    ['an end before it began', ''],
  ])('with %s is an error of the plugin’s call', async (_, text) => {
    const server = await servers.raw(createServer((socket) => socket.once('data', () => socket.end(text))));
    const answer = await hostCallClient({ net: granting(server) }).fetch(server.origin);
    expect(answer).toMatchObject({ ok: false, code: 'PLUGIN_ERROR', message: expect.stringContaining(server.place) });
  });

  it('that comes beside too many others is not kept', async () => {
    const server = await servers.http((_, response) => response.end(Buffer.alloc(MIB)));
    const client = hostCallClient({ net: granting(server), network: { maxHeldBytes: MIB / 2 } });
    expect(await client.fetch(server.origin)).toMatchObject({ ok: false, message: expect.stringMatching(/at once/) });
  });

  it('beyond all that a step may receive ends the network for it', async () => {
    const server = await servers.http((_, response) => response.end(Buffer.alloc(MIB)));
    const client = hostCallClient({ net: granting(server), network: { maxTotalBytes: 2.5 * MIB } });
    expect(await client.fetch(server.origin)).toMatchObject({ ok: true });
    expect(await client.fetch(server.origin)).toMatchObject({ ok: true });
    expect(await client.fetch(server.origin)).toMatchObject({ ok: false, code: 'LIMIT_HOST_CALLS' });
  });
});

describe('TLS', () => {
  const { key, cert } = selfSigned();

  it('with a certificate that no authority signed is refused', async () => {
    const server = await servers.https({ key, cert });
    expect(await hostCallClient({ net: granting(server) }).fetch(server.origin)).toMatchObject({
      ok: false,
      code: 'PLUGIN_ERROR',
      message: expect.stringMatching(/certificate/),
    });
    expect(server.seen).toEqual([]);
  });

  it('with one that counts here is used, for the names and addresses in it and no others', async () => {
    const usual = getCACertificates('default');
    setDefaultCACertificates([...usual, cert]);
    try {
      const server = await servers.https({ key, cert });
      const names = ['named.example', 'other.example'].map((name) => `private:${name}:${server.port}`);
      const client = hostCallClient({
        net: [...granting(server), ...names],
        network: { resolve: async () => ['127.0.0.1'] },
      });
      for (const host of ['127.0.0.1', 'named.example', 'NAMED.example.']) {
        const answer = await client.fetch(`https://${host}:${server.port}/`);
        expect(answer.ok && answer.body.toString()).toBe('secure');
      }
      expect(server.seen.map(({ headers }) => headers.host)).toEqual(
        ['127.0.0.1', 'named.example', 'named.example'].map((host) => `${host}:${server.port}`),
      );
      expect(await client.fetch(`https://other.example:${server.port}/`)).toMatchObject({
        ok: false,
        message: expect.stringMatching(/does not match certificate/),
      });
    } finally {
      setDefaultCACertificates(usual);
    }
  });

  it('to a server that speaks none is told', async () => {
    const server = await servers.http((_, response) => response.end());
    expect(await hostCallClient({ net: granting(server) }).fetch(`https://${server.place}/`)).toMatchObject({
      message: `${server.place} could not be reached: it does not speak TLS`,
    });
  });
});

describe('a call', () => {
  it('that the plugin gives up ends at once, with its connection', async () => {
    const arrived = Promise.withResolvers<void>();
    const server = await servers.http(() => arrived.resolve());
    const client = hostCallClient({ net: granting(server) });
    const pending = client.fetch(server.origin, { callId: 7 });
    await arrived.promise;
    expect(await client.abort(7)).toBe(true);
    expect(await pending).toMatchObject({ ok: false, message: 'the call was given up' });
    await expect.poll(() => server.connections()).toBe(0);
    expect(client.calls.figures().hostCalls).toBe(1);
  });

  it('that is open when the attempt ends is given up, and none can follow', async () => {
    const arrived = Promise.withResolvers<void>();
    const server = await servers.http(() => arrived.resolve());
    const client = hostCallClient({ net: granting(server), network: { maxOpen: 1 } });
    const pending = [client.fetch(server.origin), client.fetch(server.origin), client.fetch(server.origin)];
    await arrived.promise;
    client.calls.close();
    client.calls.close();
    for (const answer of await Promise.all(pending)) expect(answer).toMatchObject({ ok: false });
    expect(await client.fetch(server.origin)).toMatchObject({ ok: false });
    expect(server.seen).toHaveLength(1);
    await expect.poll(() => server.connections()).toBe(0);
  });

  it('is not made for a plugin that takes no answers', async () => {
    const server = await servers.http((_, response) => response.end('ok'));
    const client = hostCallClient({ net: granting(server), network: { maxOpen: 2 }, reads: false });
    const all = Array.from({ length: 5 }, () => client.fetch(server.origin));
    await Promise.all(all.slice(0, 2));
    client.calls.close();
    expect((await Promise.all(all)).map(({ ok }) => ok)).toEqual([true, true, false, false, false]);
    expect(server.seen).toHaveLength(2);
  });

  it('that is given up more often than made is counted', async () => {
    const client = hostCallClient({ maxCalls: 2 });
    const given = [await client.abort(1), await client.abort(1), await client.abort(1)];
    expect(given).toEqual([true, true, false]);
  });

  it('of what ran before is given up when the plugin begins anew, and counts no more', async () => {
    const arrived = Promise.withResolvers<void>();
    const server = await servers.http(({ url }, response) => (url === '/' ? arrived.resolve() : response.end('new')));
    const client = hostCallClient({ net: granting(server), maxCalls: 2 });
    const old = [client.fetch(server.origin, { callId: 1 }), client.fetch(server.origin, { callId: 2 })];
    await arrived.promise;
    client.calls.restart();
    expect(await client.fetch(`${server.origin}/new`, { callId: 1 })).toMatchObject({ ok: true });
    for (const answer of await Promise.all(old)) expect(answer).toMatchObject({ ok: false });
    expect(await client.fetch(`${server.origin}/new`, { callId: 2 })).toMatchObject({ ok: true });
    expect(client.calls.figures().hostCalls).toBe(4);
  });

  it('beyond the limit is refused and told once', async () => {
    const client = hostCallClient({ maxCalls: 2 });
    const codes = [];
    for (let at = 0; at < 4; at++) {
      const answer = await client.fetch('http://a.example/');
      codes.push(answer.ok ? 'ok' : answer.code);
    }
    expect(codes).toEqual(['POLICY_DENIED', 'POLICY_DENIED', 'LIMIT_HOST_CALLS', 'LIMIT_HOST_CALLS']);
    expect(client.notices).toEqual(['acme.test made more than its limit of 2 host calls']);
  });

  it.each(['constructor', '__proto__', 'toString', '0', '', 'FETCH', 'x'.repeat(100_000)])(
    'named %.20s is none',
    async (method) => {
      const { calls } = hostCallClient();
      const answer = await calls.call({ callId: 1, method, payloadJson: Buffer.from('{}') });
      expect(answer).toMatchObject({ ok: false, code: 'PLUGIN_ERROR' });
      expect(answer.message?.length).toBeLessThan(200);
    },
  );

  it.each(['', 'null', '{', '{"url":1}', '{"__proto__":{}}', `${'['.repeat(10_000)}`, '{"url":"http://a/","extra":1}'])(
    'with the payload %.30s cannot be read',
    async (payload) => {
      for (const method of ['fetch', 'secret']) {
        const answer = await hostCallClient().calls.call({ callId: 1, method, payloadJson: Buffer.from(payload) });
        expect(answer).toMatchObject({ ok: false, code: 'PLUGIN_ERROR' });
      }
    },
  );
});

describe('a secret', () => {
  const grantOf = (...targets: LocalServer[]) => [{ name: 'KEY', hosts: granting(...targets) }];

  it.each([
    ['the URL', (value: string) => ({ path: `/?k=${encodeURIComponent(value)}` })],
    ['a header', (value: string) => ({ headers: [['x', `k ${value}`]] as [string, string][] })],
    [
      'a Basic header',
      (value: string) => ({
        headers: [['authorization', `Basic ${Buffer.from(`u:${value}`).toString('base64')}`]] as [string, string][],
      }),
    ],
    ['the body', (value: string) => ({ method: 'POST', body: JSON.stringify({ a: value }) })],
  ])('goes in %s only to the hosts of its grant', async (_, make) => {
    const allowed = await servers.http((_request, response) => response.end());
    const other = await servers.http((_request, response) => response.end());
    const value = `${canary()}/"+ü`;
    const header = canary();
    const client = hostCallClient({
      net: granting(allowed, other),
      secretGrants: [...grantOf(allowed), { name: 'HEADER', hosts: granting(allowed) }],
      secrets: { KEY: value, HEADER: header },
    });
    await client.secret('KEY');
    await client.secret('HEADER');
    const { path: where = '/', ...init } = { path: undefined, ...make(_.includes('header') ? header : value) };
    expect(await client.fetch(`${allowed.origin}${where}`, init)).toMatchObject({ ok: true });
    expect(await client.fetch(`${other.origin}${where}`, init)).toMatchObject({
      code: 'POLICY_DENIED',
      message: expect.stringMatching(/tried to send the secret (KEY|HEADER) to .* lets it go to private:.* only/),
    });
    expect(other.seen).toEqual([]);
  });

  it('is not given without a grant, and says what to add', async () => {
    const client = hostCallClient({ secrets: { KEY: canary() } });
    await expect(client.secret('KEY')).rejects.toThrow(
      'POLICY_DENIED: acme.test asked for the secret KEY; rule 1 (policy.yaml:3) grants no secrets',
    );
  });

  it('that is granted and missing says where it is to be put', async () => {
    const client = hostCallClient({ secretGrants: [{ name: 'KEY', hosts: [] }] });
    await expect(client.secret('KEY')).rejects.toThrow(
      'POLICY_DENIED: acme.test was granted the secret KEY, but the --env-file has no value for it; add a line KEY=…',
    );
  });

  it('too short to be looked for is given, with a notice', async () => {
    const client = hostCallClient({ secretGrants: [{ name: 'PIN', hosts: [] }], secrets: { PIN: '1234' } });
    expect([await client.secret('PIN'), await client.secret('PIN')]).toEqual(['1234', '1234']);
    expect(client.notices).toEqual([expect.stringMatching(/PIN is shorter than 6 characters/)]);
  });
});

/** For 127.0.0.1 and named.example. */
function selfSigned(): { key: string; cert: string } {
  const folder = mkdtempSync(path.join(tmpdir(), 'self-signed-'));
  const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
  const subject = ['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:named.example'];
  execFileSync('openssl', [...args, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const pems = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  rmSync(folder, { recursive: true });
  return pems;
}
