/**
 * fetch and its classes in a plugin, against a host that answers as the test says: what is asked, what is made of the
 * answer, and how a call is given up. Run in every tier.
 */

import { MAX_REQUEST_BODY_BYTES } from '@flowops/proto/host-call-limits.ts';
import {
  abortRequestSchema,
  type FetchRequest,
  type FetchResponse,
  fetchRequestSchema,
} from '@flowops/proto/host-call-messages.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import type { StepHost } from '../support/step-host.ts';
import { type AnswerCall, bundleOf, type StepOptions, type StepResult } from '../support/worker-host.ts';

type Given = Partial<Omit<FetchResponse, 'body'>> & { readonly body?: string | Uint8Array };

const base64 = (body: string | Uint8Array): string => Buffer.from(body).toString('base64');
const json = { outputs: { o: { type: 'json' } } } as const;

export function guestFetchSuite(w: StepHost): void {
  describe('the network of a plugin', () => fetchSuite(w));
}

function fetchSuite(w: StepHost): void {
  /** What the plugin asked for, as the host's schema reads it. */
  let asked: FetchRequest[];
  let aborted: number[];

  /** Undefined: never answered. */
  const answering =
    (answer: (request: FetchRequest) => Given | undefined): AnswerCall =>
    ({ token, callId, method, payloadJson }, peer) => {
      const payload: unknown = JSON.parse(Buffer.from(payloadJson).toString());
      const reply = (value: unknown) => {
        const bytes = Buffer.from(JSON.stringify(value));
        peer.send({ case: 'hostReply', value: { token, callId, ok: true, payloadJson: bytes } });
      };
      if (method === 'abort') {
        aborted.push(abortRequestSchema.parse(payload).callId);
        return reply({});
      }
      const request = fetchRequestSchema.parse(payload);
      asked.push(request);
      const given = answer(request);
      if (given === undefined) return;
      const { body = '', ...rest } = given;
      reply({
        url: request.url,
        redirected: false,
        status: 200,
        statusText: 'OK',
        headers: [],
        ...rest,
        body: base64(body),
      });
    };

  beforeEach(() => {
    asked = [];
    aborted = [];
    w.answerCall = answering(({ url }) => ({ body: `<${url}>` }));
  });

  const run = (body: string, options?: StepOptions): Promise<StepResult> =>
    w.run(bundleOf(`const o = []; ${body}\nreturn { o };`, json), options);

  describe('fetch', () => {
    test("sends method, headers and body, and leaves out the headers that are the host's own", async () => {
      const done = await run(
        `const seen = [];
         await fetch('https://Example.org:443/a b?q=ü#frag');
         await fetch(new URL('https://example.org/x'), { method: 'post', body: 'é', headers: { 'X-A': ' 1 ', Host: 'evil', 'Proxy-Authorization': 'x', Connection: 'close' } });
         await context.fetch('https://example.org/', { method: 'PUT', body: new URLSearchParams({ a: '1 2' }), redirect: 'manual' });
         await fetch('https://example.org/', { method: 'PATCH', body: new Uint8Array([0, 255, 1]).subarray(1), headers: [['a', '1'], ['a', '2']], redirect: 'error' });
         await fetch(new Request('https://example.org/', { method: 'DELETE', body: new Uint8Array([7]).buffer }), { headers: new Headers({ b: '3' }) });`,
      );
      expect(done).toMatchObject({ status: 'COMPLETED' });
      expect(asked).toEqual([
        { url: 'https://example.org/a%20b?q=%C3%BC#frag', method: 'GET', headers: [], body: null, redirect: 'follow' },
        {
          url: 'https://example.org/x',
          method: 'POST',
          headers: [
            ['x-a', '1'],
            ['content-type', 'text/plain;charset=UTF-8'],
          ],
          body: base64('é'),
          redirect: 'follow',
        },
        {
          url: 'https://example.org/',
          method: 'PUT',
          headers: [['content-type', 'application/x-www-form-urlencoded;charset=UTF-8']],
          body: base64('a=1+2'),
          redirect: 'manual',
        },
        {
          url: 'https://example.org/',
          method: 'PATCH',
          headers: [
            ['a', '1'],
            ['a', '2'],
          ],
          body: base64(new Uint8Array([255, 1])),
          redirect: 'error',
        },
        {
          url: 'https://example.org/',
          method: 'DELETE',
          headers: [['b', '3']],
          body: base64(new Uint8Array([7])),
          redirect: 'follow',
        },
      ]);
    });

    test('gives the answer with its status, headers and body in every form', async () => {
      const bytes = new Uint8Array([0, 200, 255]);
      w.answerCall = answering(({ url }) => {
        if (url.endsWith('/json'))
          return { body: '\ufeff{"a":"é😀"}', headers: [['content-type', 'application/json']] };
        if (url.endsWith('/bytes')) return { body: bytes };
        return {
          status: 404,
          statusText: 'Not Found',
          redirected: true,
          url: 'https://b.example/',
          headers: [
            ['Set-Cookie', 'a=1'],
            ['set-cookie', 'b=2'],
            ['x', '1'],
            ['X', '2'],
          ],
        };
      });
      const done = await run(
        `const r = await fetch('https://a.example/json'); const copy = r.clone();
         o.push(r.ok, r.status, r.type, r.bodyUsed, (await r.json()).a, r.bodyUsed, (await copy.text()).length, r.headers.get('Content-Type'));
         await r.text().catch((e) => o.push(e.name)); try { r.clone(); } catch (e) { o.push(e.name); }
         const b = await fetch('https://a.example/bytes'); o.push([...await b.clone().bytes()], [...new Uint8Array(await b.arrayBuffer())]);
         const n = await fetch('https://a.example/none');
         o.push(n.ok, n.status, n.statusText, n.redirected, n.url, await n.text(), n.bodyUsed, n.body, n.headers.getSetCookie(), [...n.headers]);
         try { n.headers.set('x', '3'); } catch (e) { o.push(e.name); }
         o.push(r instanceof Response, String(r), String(n.headers));`,
      );
      expect(done.outputs).toEqual({
        o: [
          ...[
            true,
            200,
            'basic',
            false,
            'é😀',
            true,
            '{"a":"é😀"}'.length,
            'application/json',
            'TypeError',
            'TypeError',
          ],
          ...[
            [0, 200, 255],
            [0, 200, 255],
          ],
          ...[false, 404, 'Not Found', true, 'https://b.example/', '', false, null, ['a=1', 'b=2']],
          [
            ['set-cookie', 'a=1'],
            ['set-cookie', 'b=2'],
            ['x', '1, 2'],
          ],
          ...['TypeError', true, '[object Response]', '[object Headers]'],
        ],
      });
    });

    test.each([
      ['no URL', "fetch('/relative')"],
      ['a password in the URL', "fetch('https://a:b@example.org/')"],
      ['a URL without end', "fetch('https://example.org/' + 'x'.repeat(10_000))"],
      ['a method that makes a tunnel', "fetch('https://a.example', { method: 'connect' })"],
      ['a method that is none', "fetch('https://a.example', { method: 'GE T' })"],
      ['a GET with a body', "fetch('https://a.example', { body: 'x' })"],
      ['a body that is an object', "fetch('https://a.example', { method: 'POST', body: { a: 1 } })"],
      ['a header with a line end', "fetch('https://a.example', { headers: { a: 'b\\r\\nc: d' } })"],
      ['a header name with a space', "fetch('https://a.example', { headers: { 'a b': 'c' } })"],
      ['a redirect mode that is none', "fetch('https://a.example', { redirect: 'maybe' })"],
      ['a signal that is none', "fetch('https://a.example', { signal: {} })"],
      [
        'too many headers',
        "fetch('https://a.example', { headers: Array.from({ length: 129 }, (_, i) => ['x' + i, '1']) })",
      ],
      [
        'a body that is too large',
        `fetch('https://a.example', { method: 'POST', body: new Uint8Array(${MAX_REQUEST_BODY_BYTES + 1}) })`,
      ],
    ])('%s is a TypeError before anything leaves', async (_, call) => {
      const done = await run(
        `o.push(await ${call}.then(() => 'sent', (e) => [e instanceof TypeError, e.message.length > 0]));`,
      );
      expect(done.outputs).toEqual({ o: [[true, true]] });
      expect(asked).toEqual([]);
    });

    test('a body of the largest size arrives whole, and too many at once are refused', async () => {
      w.answerCall = answering(({ url, body }) =>
        url.endsWith('/never') ? undefined : { body: String(Buffer.from(body ?? '', 'base64').length) },
      );
      const done = await run(
        `const send = (path, signal) => fetch('https://a.example' + path, { method: 'POST', body: new Uint8Array(${MAX_REQUEST_BODY_BYTES}), signal });
         o.push(Number(await (await send('/')).text()));
         const c = new AbortController();
         const all = [1, 2, 3].map(() => send('/never', c.signal).catch((e) => e.name));
         await all[2]; c.abort();
         o.push(await Promise.all(all));`,
        { limits: { wallMs: 60_000, cpuMs: 60_000 } },
      );
      expect(done.outputs).toEqual({ o: [MAX_REQUEST_BODY_BYTES, ['AbortError', 'AbortError', 'TypeError']] });
    });

    test('what the host refuses is a TypeError with the code, and ends the step with it when nobody catches', async () => {
      w.answerCall = ({ token, callId, payloadJson }, peer) => {
        const { url } = fetchRequestSchema.parse(JSON.parse(Buffer.from(payloadJson).toString()));
        const code = url.includes('denied') ? 'POLICY_DENIED' : 'PLUGIN_ERROR';
        peer.send({ case: 'hostReply', value: { token, callId, ok: false, code, message: `no ${url}` } });
      };
      const caught = await run(
        `for (const host of ['denied', 'down']) await fetch('https://' + host + '.example/').catch((e) => o.push([e instanceof TypeError, e.name, e.code, e.message]));`,
      );
      expect(caught.outputs).toEqual({
        o: [
          [true, 'HostCallError', 'POLICY_DENIED', 'no https://denied.example/'],
          [true, 'TypeError', 'PLUGIN_ERROR', 'no https://down.example/'],
        ],
      });
      expect(await run("await fetch('https://denied.example/');")).toMatchObject({
        code: 'POLICY_DENIED',
        message: 'no https://denied.example/',
      });
      expect(await run("await fetch('https://down.example/');")).toMatchObject({ code: 'PLUGIN_ERROR' });
    });

    test('an abort rejects with its reason and tells the host which call is given up', async () => {
      w.answerCall = answering(({ url }) => (url.endsWith('/never') ? undefined : {}));
      const done = await run(
        `const c = new AbortController();
         const call = fetch('https://a.example/never', { signal: c.signal }); setTimeout(() => c.abort(), 5);
         await call.catch((e) => o.push(e.name));
         await fetch('https://a.example/', { signal: c.signal }).catch((e) => o.push(e.name));
         await fetch('https://a.example/never', { signal: AbortSignal.timeout(5) }).catch((e) => o.push(e.name));
         const mine = new AbortController(); mine.abort('why');
         await fetch(new Request('https://a.example/', { signal: mine.signal })).catch((e) => o.push(e));
         const late = new AbortController(); const r = await fetch('https://a.example/', { signal: late.signal }); late.abort(); o.push(r.status);`,
      );
      expect(done.outputs).toEqual({ o: ['AbortError', 'AbortError', 'TimeoutError', 'why', 200] });
      expect(asked.map(({ url }) => new URL(url).pathname)).toEqual(['/never', '/never', '/']);
      expect(aborted).toHaveLength(2);
    });

    test('a stop rejects what is under way, also where nobody bound it to the signal', async () => {
      w.answerCall = answering(() => undefined);
      const step = await w.start(
        bundleOf(
          "logger.info('ready'); await fetch('https://a.example/').catch((e) => logger.info('gave up: ' + e.name)); return {};",
        ),
      );
      await step.logged('ready');
      w.cancel(step, 5_000);
      const done = await step.result;
      expect(done.logs.map(({ message }) => message)).toEqual(['ready', 'gave up: AbortError']);
      expect(done).toMatchObject({ status: 'CANCELLED' });
      expect(aborted).toHaveLength(1);
    });

    test('an answer that is given up does not count as a host call, the call itself does', async () => {
      w.answerCall = answering(() => undefined);
      const source = bundleOf(
        `for (let i = 0; i < 2; i++) await fetch('https://a.example/', { signal: AbortSignal.timeout(1) }).catch(() => {});
         return {};`,
      );
      expect(await w.run(source, { limits: { hostCalls: 2 } })).toMatchObject({ status: 'COMPLETED' });
      expect(await w.run(source, { limits: { hostCalls: 1 } })).toMatchObject({ code: 'LIMIT_HOST_CALLS' });
    });
  });

  describe('Headers, Request and Response', () => {
    test('do what the Fetch standard says', async () => {
      const done = await run(
        `const h = new Headers({ B: '1', a: ' x\\t' }); h.append('b', '2'); h.set('C', '3'); h.append('d', '4'); h.delete('D');
         o.push([...h], h.has('A'), h.get('none'), [...h.keys()], [...h.values()]);
         const seen = []; h.forEach((value, name, all) => seen.push(name + value + (all === h))); o.push(seen.join());
         for (const bad of [() => new Headers(1), () => new Headers([['a']]), () => h.set('', 'x'), () => h.set('a', '\\u0100'), () => h.forEach()]) { try { bad(); o.push('fine'); } catch (e) { o.push(e.name); } }
         const q = new Request('https://a.example/', { method: 'post', body: 'b', headers: { a: '1' } });
         const copy = q.clone(); o.push(q.method, q.url, q.redirect, q.signal.aborted, await q.text(), await copy.text(), copy.headers.get('content-type'));
         const moved = new Request(new Request('https://a.example/', { method: 'POST', body: 'm' })); o.push(await moved.text());
         const used = new Request('https://a.example/', { method: 'POST', body: 'm' }); new Request(used); o.push(used.bodyUsed);
         const r = Response.json({ a: 1 }, { status: 201, headers: { x: 'y' } }); o.push(r.status, r.headers.get('content-type'), await r.json());
         o.push(Response.error().type, Response.redirect('https://a.example/', 307).headers.get('location'), new Response(null, { status: 204 }).ok);
         for (const bad of [() => new Response('', { status: 99 }), () => new Response('x', { status: 204 }), () => Response.redirect('/', 200), () => Response.json(undefined), () => Response.error().headers.set('a', 'b')]) { try { bad(); o.push('fine'); } catch (e) { o.push(e.name); } }
         o.push(await new Response('\\ud800').text() === '\\ufffd', (await new Response(new Uint8Array([239, 187, 191, 65])).text()));
         await new Response('x').blob().catch((e) => o.push(e.name));`,
      );
      expect(done.outputs).toEqual({
        o: [
          ...[
            [
              ['a', 'x'],
              ['b', '1, 2'],
              ['c', '3'],
            ],
            true,
            null,
            ['a', 'b', 'c'],
            ['x', '1, 2', '3'],
          ],
          'axtrue,b1, 2true,c3true',
          ...['TypeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError'],
          ...['POST', 'https://a.example/', 'follow', false, 'b', 'b', 'text/plain;charset=UTF-8', 'm', true],
          ...[201, 'application/json', { a: 1 }, 'error', 'https://a.example/', true],
          ...['RangeError', 'TypeError', 'RangeError', 'TypeError', 'TypeError', true, 'A', 'TypeError'],
        ],
      });
    });

    test('a Blob that the plugin brought is what blob() gives', async () => {
      const done = await run(
        `globalThis.Blob = class Blob { constructor(parts) { this.text = new TextDecoder().decode(parts[0]); } };
         const r = new Response('é'); const blob = await r.blob(); o.push(blob instanceof Blob, blob.text, r.bodyUsed);`,
      );
      expect(done.outputs).toEqual({ o: [true, 'é', true] });
    });
  });
}
