/**
 * Plugins that look for a way out by fetch and its classes (hostile cases 1 to 9), in every tier. In a container the
 * context is no boundary; the plugin finds nothing there all the same.
 */
import { fetchRequestSchema, HOST_CALL_METHODS } from '@flowops/proto/host-call-messages.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { isolateSteps, runnerSteps, type StepHost } from '../support/step-host.ts';
import { bundleOf } from '../support/worker-host.ts';

const found = { outputs: { found: { type: 'json' } } } as const;

describe.each([
  ['isolate', isolateSteps()],
  ['container', runnerSteps()],
] as const)('in the %s tier', (_, w: StepHost) => {
  let methods: string[];

  beforeEach(() => {
    methods = [];
    w.answerCall = ({ token, callId, method, payloadJson }, peer) => {
      methods.push(method);
      const request = fetchRequestSchema.safeParse(JSON.parse(Buffer.from(payloadJson).toString()));
      if (!request.success || request.data.url.includes('denied')) {
        peer.send({ case: 'hostReply', value: { token, callId, ok: false, code: 'POLICY_DENIED', message: 'no' } });
        return;
      }
      const { url } = request.data;
      const answer = { url, redirected: false, status: 200, statusText: 'OK', headers: [['a', 'b']], body: 'e30=' };
      peer.send({
        case: 'hostReply',
        value: { token, callId, ok: true, payloadJson: Buffer.from(JSON.stringify(answer)) },
      });
    };
  });
  afterAll(() => w.close());

  const hunt = (body: string) => w.run(bundleOf(`const found = [];\n${body}\nreturn { found };`, found));

  const everything = `const answer = await fetch('https://a.example/'); const request = new Request('https://a.example/', { method: 'POST', body: 'x' });
    const refused = await fetch('https://denied.example/').catch((e) => e); const invalid = await fetch('::').catch((e) => e);
    const given = { fetch, own: context.fetch, Headers, Request, Response, answer, request, refused, invalid, headers: answer.headers, entries: answer.headers.entries(),
      pair: [...answer.headers][0], promise: answer.clone().text(), bytes: await answer.clone().bytes(), json: await answer.clone().json(), signal: request.signal, made: Response.json({}) };`;

  test('1, 2: no constructor and no prototype of fetch leads to a global of the host', async () => {
    const done = await hunt(
      `${everything}
       for (const [name, value] of Object.entries(given)) {
         for (const make of [value.constructor, value.constructor?.constructor, Object.getPrototypeOf(value)?.constructor?.constructor]) {
           for (const code of ['return process', 'return require', 'return globalThis.process', 'return this']) {
             try { let got = make(code)(); if (typeof got?.next === 'function') got = got.next().value; got = await got; if (got !== undefined && got !== globalThis) found.push([name, code]); } catch {}
           }
         }
         let at = value; for (let hops = 0; at !== null && hops < 20; hops++) at = Object.getPrototypeOf(at);
         if (!(value instanceof Object) || at !== null) found.push([name, 'prototype']);
       }`,
    );
    expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
  });

  test('3: code that hooks every builtin before the first fetch gets no function that reaches the host', async () => {
    const done = await hunt(
      `const seen = new Set(); const note = (value) => { if ((typeof value === 'object' && value !== null) || typeof value === 'function') seen.add(value); };
       const add = Set.prototype.add.bind(seen); seen.add = add; const apply = Reflect.apply; const define = Object.defineProperty;
       const hook = (holder, key) => { const own = Object.getOwnPropertyDescriptor(holder, key); if (typeof own?.value !== 'function' || !own.configurable || key === 'constructor') return;
         const original = own.value; define(holder, key, { ...own, value: function (...values) { note(this); for (let i = 0; i < values.length; i++) note(values[i]); return apply(original, this, values); } }); };
       for (const holder of [Array.prototype, Map.prototype, Set.prototype, WeakMap.prototype, String.prototype, Promise.prototype, Promise, Function.prototype, RegExp.prototype, JSON, Object, Reflect, Uint8Array.prototype, Object.getPrototypeOf(Uint8Array.prototype)])
         for (const key of Reflect.ownKeys(holder)) { if (holder === Object && key === 'defineProperty') continue; if (holder === Function.prototype && key === 'toString') continue; hook(holder, key); }
       const c = new AbortController();
       try { await fetch('https://a.example/', { method: 'POST', headers: { a: 'b' }, body: 'x', signal: c.signal }); } catch {}
       try { const late = fetch('https://denied.example/', { signal: c.signal }); c.abort(); await late; } catch {}
       for (const value of [...seen]) {
         for (const key of Reflect.ownKeys(value)) { try { note(value[key]); } catch {} }
         for (const key of Reflect.ownKeys(Object.getPrototypeOf(value) ?? {})) { try { note(value[key]); } catch {} }
       }
       let tried = 0;
       for (const value of [...seen]) { if (typeof value !== 'function' || tried++ > 5000) continue; try { value(6, 900_000 + tried, 'forged', '{}'); } catch {} try { value.call({}, 'forged', {}); } catch {} }
       if (tried < 20) found.push('hooked only ' + tried);`,
    );
    // It may well have broken its own step; what counts is what came out.
    expect(['COMPLETED', 'FAILED']).toContain(done.status);
    expect(methods.filter((method) => !HOST_CALL_METHODS.some((known) => known === method))).toEqual([]);
    expect(methods).toContain('fetch');
  });

  test('3, 4: polluted prototypes and getters that change their answer give one request that the host can read', async () => {
    const done = await hunt(
      `await fetch('https://a.example/');
       for (const name of ['toJSON', 'body', 'method', 'signal', 'headers', 'redirect', 'code', 'callId']) {
         Object.defineProperty(Object.prototype, name, { __proto__: null, configurable: true, get() { const keys = Object.keys(this).join(); if (/host|enter|token|digest|waiting/.test(keys)) found.push(keys); return undefined; }, set() {} });
       }
       let n = 0;
       const init = { get method() { return n++ === 0 ? 'POST' : 'CONNECT'; }, get body() { return 'x'; }, headers: new Proxy({ a: '1' }, { get: (t, k) => (k === Symbol.iterator ? undefined : 'v' + n) }) };
       const answer = await fetch('https://a.example/', init); if (answer.status !== 200) found.push('status');
       class Sly extends Promise { static get [Symbol.species]() { return function (run) { run(() => {}, () => {}); return { then() {} }; }; } }
       const again = await fetch({ toString() { return 'https://a.example/' + n++; } }); if (!/\\d$/.test(again.url)) found.push(again.url);`,
    );
    expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
    expect(methods).toEqual(['fetch', 'fetch', 'fetch']);
  });

  test('5: errors of fetch show no path of the host and no object of ours', async () => {
    const done = await hunt(
      `Error.prepareStackTrace = (error, sites) => sites.map((site) => String(site.getFileName()));
       for (const url of ['https://denied.example/', '::']) {
         const stack = await fetch(url).catch((error) => error.stack);
         for (const file of stack) if (/[\\\\/]/.test(file) && !/^node:internal\\//.test(file)) found.push(file);
       }
       delete Error.prepareStackTrace;`,
    );
    expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
  });

  test.each([
    [
      'an init whose getters throw a proxy',
      "fetch('https://a.example/', { get method() { throw new Proxy({}, { get() { throw 1; } }); } })",
    ],
    ['a URL that throws', 'fetch({ toString() { throw new Proxy({}, {}); } })'],
    [
      'a body with a lying length',
      "fetch('https://a.example/', { method: 'POST', body: Object.defineProperty(new Uint8Array(2), 'byteLength', { value: 1e9 }) })",
    ],
    [
      'a detached body',
      "(() => { const b = new ArrayBuffer(8); b.transfer(); return fetch('https://a.example/', { method: 'POST', body: b }); })()",
    ],
    [
      'headers without end',
      "fetch('https://a.example/', { headers: { [Symbol.iterator]() { let i = 0; return { next: () => ({ done: i > 1e5, value: ['a' + i++, 'b'] }) }; } } })",
    ],
    ['a forged signal', "fetch('https://a.example/', { signal: Object.create(AbortSignal.prototype) })"],
    ['a forged Request', 'fetch(Object.create(Request.prototype))'],
    ['a forged Response', 'Promise.resolve().then(() => Response.prototype.text.call({}))'],
  ])('6: %s is told to the plugin alone', async (_, call) => {
    const done = await hunt(`await ${call}.then(() => {}, () => {});`);
    expect(done).toMatchObject({ status: 'COMPLETED' });
    expect(methods.every((method) => method === 'fetch')).toBe(true);
  });

  test('7: what an import() gives leads to nothing that the plugin has not', async () => {
    const done = await hunt(
      `for (const name of ['node:fs', 'data:text/javascript,export default 1']) {
         const promise = import(name); const error = await promise.catch((e) => e);
         for (const value of [promise, error]) for (const code of ['typeof process', 'typeof require', 'typeof Buffer', 'typeof fetch + typeof setTimeout']) {
           try { const got = value.constructor.constructor('return ' + code)(); if (!/^(undefined)+$/.test(got) && value.constructor.constructor !== Function) found.push([name, code, got]); } catch {}
         }
       }`,
    );
    expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
  });

  test('8, 9: a plugin names no host call, and no handle of the sandbox hangs on what fetch gives', async () => {
    const done = await hunt(
      `${everything}
       const names = /^(Isolate|Reference|ExternalCopy|Callback|Dereference|NativeModule|applySync|applySyncPromise|derefInto|MessagePort|postMessage|replyError|abandon|abortAll|Worker)$/;
       const seen = new Set(); const queue = Object.values(given);
       while (queue.length > 0 && seen.size < 50_000) {
         const at = queue.pop();
         if ((typeof at !== 'object' && typeof at !== 'function') || at === null || seen.has(at)) continue;
         seen.add(at);
         for (const key of Reflect.ownKeys(at)) {
           if (typeof key === 'string' && names.test(key)) found.push('key ' + key);
           const property = Reflect.getOwnPropertyDescriptor(at, key);
           queue.push(property.value, property.get, property.set);
         }
         queue.push(Object.getPrototypeOf(at));
       }
       if (seen.size < 100) found.push('the hunt saw only ' + seen.size);
       for (const method of ['constructor', '__proto__', 'secret', 'abort', 'x'.repeat(1_000_000), null, {}]) await fetch('https://a.example/', { method }).catch(() => {});`,
    );
    expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
    expect(methods.every((method) => method === 'fetch')).toBe(true);
  });
});
