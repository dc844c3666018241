/**
 * Plugins that misuse the calls to their host, in real jailed isolates and real containers of a real host, beside a
 * neighbour: more of the kind of the catalogue's cases 36 to 38. Each is judged by the four questions: how and when it
 * ended, whether the neighbour ran, whether a canary came out, and what is left afterwards.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, constants, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GRANTED_SECRET } from '../../sandbox/doctor/bench.ts';
import { ends, hunt, type Place, type PluginCase } from '../../sandbox/doctor/case.ts';
import { openDockerView } from '../../sandbox/doctor/docker-view.ts';
import { runDoctor } from '../../sandbox/doctor/doctor.ts';
import { type DockerService, startDocker } from '../services/docker.ts';
import { skipBecause } from '../support/skip.ts';

const { name: GRANTED, value: VALUE } = GRANTED_SECRET;
const BOMB = Buffer.alloc(128 * 1024 * 1024);
/** Made once: for as long as the server makes one it serves nobody. */
const BROTLI_BOMB = brotliCompressSync(BOMB, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
const ZSTD_BOMB = zstdCompressSync(BOMB);
const O = { o: 'json' } as const;
const runtimes = ['isolated-vm', 'runc', 'runsc'] as const;
const PLACES: readonly Place[] = [
  { tier: 'isolate', runtime: 'isolated-vm' },
  { tier: 'container', runtime: 'runc' },
  { tier: 'container', runtime: 'runsc' },
];

/** What bad servers say, by path. */
const PATHS: Readonly<Record<string, (response: ServerResponse) => void>> = {
  '/br': (response) => response.writeHead(200, { 'content-encoding': 'br' }).end(BROTLI_BOMB),
  '/zstd': (response) => response.writeHead(200, { 'content-encoding': 'zstd' }).end(ZSTD_BOMB),
  '/file': (response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
  '/metadata': (response) => response.writeHead(307, { location: 'http://169.254.169.254/latest/meta-data/' }).end(),
  '/decimal': (response) => response.writeHead(302, { location: 'http://2130706433:1/' }).end(),
  '/user': (response) => response.writeHead(302, { location: 'http://u:p@127.0.0.1:1/' }).end(),
  '/loop': (response) => response.writeHead(302, { location: '/loop' }).end(),
  '/headers': (response) => {
    response.socket?.write(`HTTP/1.1 200 OK\r\n${`x: ${'y'.repeat(1000)}\r\n`.repeat(1000)}\r\n`);
  },
  '/never': () => {},
  '/one-megabyte': (response) => response.end(Buffer.alloc(1024 * 1024)),
};

let server: Server;
let place = '';
let docker: DockerService;
const results = new Map<string, readonly string[]>();
const keyOf = (runtime: string, title: string) => `${runtime}: ${title}`;

const fetches = (path: string) => `context.fetch('http://${place}${path}')`;
const granted = () => ({ grants: { net: [`private:${place}`] } });

function moreCases(): readonly PluginCase[] {
  const plugin = (title: string, id: string, attempts: PluginCase['attempts']): PluginCase => ({
    kind: 'plugin',
    id,
    title,
    runtimes,
    attempts,
  });
  return [
    plugin('redirects out of what is granted are refused with POLICY_DENIED', '36.1', [
      ...['/file', '/metadata', '/decimal', '/user'].map((path) =>
        ends(path, 'POLICY_DENIED', `await ${fetches(path)}; return {};`, granted()),
      ),
      ends('/loop', 'PLUGIN_ERROR', `await ${fetches('/loop')}; return {};`, granted()),
    ]),
    plugin('a refusal ends the step with POLICY_DENIED, and one that is handled does not', '36.2', [
      ends('not handled', 'POLICY_DENIED', "await context.fetch('https://slack.com/'); return {};"),
      hunt('handled', "try { await context.fetch('https://slack.com/'); found.push('reached'); } catch {}"),
    ]),
    plugin('headers that steer a connection do not', '36.3', [
      {
        what: 'they are dropped, or refused as no header',
        body: `
          const headers = [['Host', 'evil.example'], ['Connection', 'close, x-own'], ['Transfer-Encoding', 'chunked'],
            ['Content-Length', '5'], ['Upgrade', 'h2c'], ['Proxy-Authorization', 'x'], ['Expect', '100-continue'], ['X-Own', 'y']];
          const r = await context.fetch('http://${place}/echo', { method: 'POST', body: 'ab', headers });
          const { host, connection, 'x-own': own, 'content-length': length, ...rest } = await r.json();
          const others = Object.keys(rest).filter((name) => !['accept', 'accept-encoding', 'user-agent', 'content-type'].includes(name));
          return { o: [host, connection, own, length, others] };`,
        outputs: O,
        ...granted(),
        expect: { endings: ['COMPLETED'], outputs: { o: [place, 'close', 'y', '2', []] } },
      },
      hunt(
        'a line break in a value, a space in a name, a method that makes a tunnel',
        `for (const init of [{ headers: { a: 'x\\r\\nb: c' } }, { headers: { 'a b': 'x' } }, { method: 'CONNECT' }, { method: 'TRACE' }, { method: 'GET /x HTTP/1.1\\r\\n' }]) {
           try { await context.fetch('http://${place}/echo', init); found.push(init); } catch {}
         }`,
        granted(),
      ),
    ]),
    plugin('bombs of every coding and heads without end are given up', '37.1', [
      ...['/br', '/zstd', '/headers'].map((path) =>
        ends(path, 'PLUGIN_ERROR', `await (await ${fetches(path)}).arrayBuffer(); return {};`, granted()),
      ),
    ]),
    plugin('many calls at once, answered or not, harm nobody', '37.2', [
      ends(
        '99 that are never answered',
        'LIMIT_WALL',
        `await Promise.all(Array.from({ length: 99 }, () => ${fetches('/never')})); return {};`,
        { ...granted(), limits: { wallMs: 1_500 } },
      ),
      ends(
        'more than the limit, none awaited',
        'LIMIT_HOST_CALLS',
        `for (let i = 0; i < 101; i++) ${fetches('/never')}.catch(() => {}); await new Promise((r) => setTimeout(r, 5000)); return {};`,
        granted(),
      ),
      ends(
        'an endless loop of calls that are refused',
        'LIMIT_HOST_CALLS',
        "for (;;) { try { await context.fetch('http://10.0.0.1/'); } catch {} }",
      ),
      ends(
        'an endless loop of secrets',
        'LIMIT_HOST_CALLS',
        "for (;;) { try { await context.secret('CANARY'); } catch {} }",
      ),
      {
        what: 'many megabytes side by side',
        body: `const all = await Promise.allSettled(Array.from({ length: 40 }, () => ${fetches('/one-megabyte')}.then((r) => r.arrayBuffer())));
          return { o: all.every(({ status, value }) => status === 'rejected' || value.byteLength === 1048576) };`,
        outputs: O,
        ...granted(),
        limits: { memoryMb: 512, wallMs: 40_000, cpuMs: 20_000 },
        expect: { endings: ['COMPLETED'], outputs: { o: true } },
      },
    ]),
    plugin('a granted secret is taken out of everything that leaves the step', '38.1', [
      {
        what: 'outputs: values, keys, depth, and in other clothes',
        body: `const s = await context.secret('${GRANTED}');
          return { o: { plain: s, ['key ' + s]: 1, deep: [[{ a: 'x' + s + 'y' }]], b: btoa('user:' + s), u: encodeURIComponent(s), j: JSON.stringify({ s }) } };`,
        outputs: O,
        grants: { secrets: [GRANTED] },
        expect: {
          endings: ['COMPLETED'],
          outputs: {
            o: {
              plain: '***',
              'key ***': 1,
              deep: [[{ a: 'x***y' }]],
              b: 'dXNlcjp***',
              u: '***',
              j: '{"s":"***"}',
            },
          },
          keepsBack: VALUE,
        },
      },
      {
        what: 'lines with fields, progress, and an error with a cause',
        body: `const s = await context.secret('${GRANTED}');
          logger.warn('m ' + s, { token: s, nested: { [s]: [s] } }); console.error({ s }); context.progress(0.5, s);
          throw new Error('bad ' + s, { cause: new Error(s) });`,
        grants: { secrets: [GRANTED] },
        expect: { endings: ['PLUGIN_ERROR'], keepsBack: VALUE },
      },
    ]),
    plugin('a secret goes nowhere but to the hosts of its grant', '38.2', [
      ...[
        ['in the URL', `await context.fetch('http://${place}/?k=' + encodeURIComponent(s))`],
        ['in a header', `await context.fetch('http://${place}/', { headers: { authorization: 'Bearer ' + s } })`],
        [
          'in Basic',
          `await context.fetch('http://${place}/', { headers: { authorization: 'Basic ' + btoa('u:' + s) } })`,
        ],
        ['in the body', `await context.fetch('http://${place}/', { method: 'POST', body: JSON.stringify({ s }) })`],
      ].map(([what = '', call = '']) =>
        ends(what, 'POLICY_DENIED', `const s = await context.secret('${GRANTED}'); ${call}; return {};`, {
          grants: { net: [`private:${place}`], secrets: [GRANTED] },
        }),
      ),
    ]),
  ];
}

beforeAll(async () => {
  server = createServer((request, response) => {
    response.on('error', () => {});
    const answer = PATHS[request.url ?? ''];
    if (answer !== undefined) answer(response);
    else response.end(JSON.stringify(request.headers));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  place = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  docker = await startDocker();
  const view = await openDockerView(docker.host);
  if (!view.ok) throw new Error(view.problem);
  await runDoctor({
    cases: moreCases(),
    places: PLACES.filter(isHere),
    docker: view.docker,
    env: { ...process.env, ...docker.env },
    signal: new AbortController().signal,
    onResult: ({ title, place: { runtime }, problems }) => results.set(keyOf(runtime, title), problems),
  });
}, 480_000);
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await docker.stop();
});

function isHere({ runtime }: Place): boolean {
  return runtime === 'isolated-vm' || docker.runtimes.some((one) => one === runtime);
}

describe.runIf(process.platform === 'linux').each(PLACES)('in $tier, $runtime', (place) => {
  it.for(moreCases().map(({ title }) => title))('%s', (title, context) => {
    if (!isHere(place)) skipBecause(context, `this Docker has no ${place.runtime}`);
    expect(results.get(keyOf(place.runtime, title))).toEqual([]);
  });
});

it('no connection of a step is left', async () => {
  await expect.poll(() => new Promise((resolve) => server.getConnections((_, count) => resolve(count)))).toBe(0);
});
