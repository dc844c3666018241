/**
 * Plugins that look for a way out of their isolate (hostile cases 1 to 10). Each hunts, reports what it found as its
 * output, and must have found nothing that is not its own.
 */
import { afterAll, beforeEach, expect, test } from 'vitest';
import { bundleOf, type StepOptions, startWorker, type WorkerHost } from '../support/worker-host.ts';

let host: WorkerHost | undefined;
let w: WorkerHost;

beforeEach(async () => {
  if (host?.peer.isOpen !== true) host = await startWorker();
  w = host;
});
afterAll(async () => host?.close());

const found = { outputs: { found: { type: 'json' } } } as const;

function hunt(body: string, about: Parameters<typeof bundleOf>[1] = {}, options: StepOptions = {}) {
  return w.run(bundleOf(`const found = [];\n${body}\nreturn { found };`, { ...found, ...about }), options);
}

test('1: no constructor of anything handed in leads to a global of the host', async () => {
  const done = await hunt(
    `let refused; try { await context.secret('A'); } catch (error) { refused = error; }
     const given = { inputs, logger, context, signal: context.signal, refused, console, log: logger.info,
       set: setTimeout, url: new URL('http://a/'), text: inputs.text, self: globalThis, fetched: context.fetch('x').catch((e) => e) };
     for (const [name, value] of Object.entries(given)) {
       const constructors = [value.constructor, value.constructor?.constructor, Object.getPrototypeOf(value)?.constructor?.constructor];
       for (const make of constructors) {
         if (typeof make !== 'function') continue;
         for (const code of ['return process', 'return require', 'return globalThis.process', 'return global', 'return this']) {
           try {
             const got = make(code)();
             if (got !== undefined && got !== globalThis) found.push([name, code, typeof got]);
           } catch {}
         }
       }
     }`,
    { inputs: { text: { type: 'string', required: true } } },
    { inputs: { text: 'x' } },
  );
  expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
});

test('2: every prototype chain ends at an object of the guest itself', async () => {
  const done = await hunt(
    `const own = new Set([Object.prototype, Function.prototype, null]);
     for (const value of [inputs, logger, context, logger.info, context.fetch, setTimeout, console, console.log, crypto, performance]) {
       let at = value; let hops = 0;
       while (at !== null && hops++ < 20) { const next = Object.getPrototypeOf(at); at = next; if (own.has(next)) break; }
       if (!own.has(at)) { const ours = at instanceof Object; if (!ours) found.push(String(value)); }
       const getter = value.__lookupGetter__?.('__proto__');
       if (getter && getter.call(value) !== Object.getPrototypeOf(value)) found.push('getter');
     }`,
  );
  expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
});

test('3: a polluted Object.prototype sees nothing of ours and cannot change how the step ends', async () => {
  const done = await hunt(
    `for (const name of ['get', 'set', 'then', 'toJSON', 'value', 'writable', 'retryable', 'status', 'code', 'outputsJson']) {
       Object.defineProperty(Object.prototype, name, { __proto__: null, configurable: true, get() {
         const keys = Object.keys(this).join(); if (/host|enter|token|digest/.test(keys)) found.push(name + ':' + keys); return undefined; }, set() {} });
     }
     Array.prototype.push = function (...values) { for (const v of values) this[this.length] = v; return this.length; };
     Array.prototype[Symbol.iterator] = function* () { yield 'poisoned'; };
     Promise.prototype.then = new Proxy(Promise.prototype.then, { apply: (f, self, args) => Reflect.apply(f, self, args) });
     JSON.stringify = () => '"forged"'; JSON.parse = () => ({ forged: true }); Reflect.apply = () => 'forged'; Map.prototype.get = () => 'forged';
     console.log('still logged'); await new Promise((r) => setTimeout(r, 2));`,
  );
  expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
  expect(done.logs.map(({ message }) => message)).toEqual(['still logged']);
});

test('4: species, thenables that settle twice and getters that change their answer give one honest result', async () => {
  const species = await hunt(
    `class Sly extends Promise { static get [Symbol.species]() { return function (run) { run(() => {}, () => {}); return { then() {} }; }; } }
     Promise.prototype.constructor = Sly;`,
  );
  expect(['COMPLETED', 'FAILED']).toContain(species.status);
  const twice = bundleOf('', {
    ...found,
    prologue: '',
  }).replace(/async run\(/, 'run(');
  const thenable = twice.replace(
    '{\n\n',
    "{\nreturn { then(yes, no) { yes({ found: 1 }); yes({ found: 2 }); no(new Error('three')); } };\n",
  );
  expect(await w.run(thenable)).toMatchObject({ status: 'COMPLETED', outputs: { found: 1 } });
  const getter = bundleOf(
    "let n = 0; return { get found() { return n++ === 0 ? ['first'] : () => 'second'; } };",
    found,
  );
  expect(await w.run(getter)).toMatchObject({ status: 'COMPLETED', outputs: { found: ['first'] } });
});

test('5: call sites and stacks show no path of the host and no object of ours', async () => {
  const done = await hunt(
    `Error.stackTraceLimit = 200;
     Error.prepareStackTrace = (error, sites) => sites.map((site) => [String(site.getFileName()), typeof site.getThis(), typeof site.getFunction(), String(site.getEvalOrigin())]);
     const stacks = [new Error('a').stack];
     try { await context.secret('A'); } catch (error) { stacks.push(error.stack); }
     await new Promise((resolve) => setTimeout(() => { stacks.push(new Error('b').stack); resolve(); }, 1));
     try { logger.info({ toString() { throw new Error('c'); } }); new URL('::'); } catch (error) { stacks.push(error.stack); }
     try { (function deep() { deep(); })(); } catch (error) { stacks.push(error.stack); }
     for (const stack of stacks) for (const [file, self, fn] of stack) {
       if (!/^(test\\.plugin\\.js|flowops:prelude|flowops:loader|undefined|null)$/.test(file)) found.push(file);
       if (file === 'flowops:prelude' && (self !== 'undefined' || fn !== 'undefined')) found.push([file, self, fn]);
     }
     delete Error.prepareStackTrace;`,
  );
  expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
  const thrown = await w.run(
    bundleOf("const e = new Error('x'); e.stack = 'at /etc/passwd:1:1\\n    at a (/root/worker.mjs:1:1)'; throw e;"),
  );
  expect(thrown).toMatchObject({ code: 'PLUGIN_ERROR', message: 'x', stack: '' });
});

test.each([
  [
    'a proxy thrown',
    'throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 1; }, ownKeys() { throw 1; } });',
    'PLUGIN_ERROR',
  ],
  [
    'an error whose getters throw',
    'throw Object.defineProperties(new Error(), { message: { get() { throw 1; } }, stack: { get() { throw 1; } } });',
    'PLUGIN_ERROR',
  ],
  [
    'a revoked proxy as an output',
    'const p = Proxy.revocable({}, {}); p.revoke(); return { found: p.proxy };',
    'OUTPUT_INVALID',
  ],
  [
    'a proxy returned',
    "return new Proxy({}, { get(_, key) { if (key === 'then') return undefined; throw new Error('no'); } });",
    'OUTPUT_INVALID',
  ],
  ['a rejection with a proxy', 'await Promise.reject(new Proxy(Error, {}));', 'PLUGIN_ERROR'],
  [
    'a floating rejection with a proxy',
    'Promise.reject(new Proxy({}, { get() { throw 1; } })); await new Promise(() => {});',
    'PLUGIN_ERROR',
  ],
  ['a huge message', "throw new Error('x'.repeat(10_000_000));", 'PLUGIN_ERROR'],
])('6: %s ends the step with its code', async (_, body, code) => {
  const done = await w.run(bundleOf(body, found));
  expect(done).toMatchObject({ status: 'FAILED', code });
  expect(done.message.length).toBeLessThanOrEqual(8 * 1024);
});

test('7: import, require, eval, Function and WebAssembly give no more than the guest has', async () => {
  const done = await hunt(
    `for (const code of ['typeof process', 'typeof require', 'typeof Buffer', 'typeof WebAssembly', 'typeof SharedArrayBuffer', 'typeof Atomics', 'typeof Deno']) {
       for (const run of [(c) => (0, eval)(c), (c) => Function('return ' + c)(), (c) => new (async () => {}).constructor('return ' + c)()]) {
         const got = await run(code); if (got !== 'undefined') found.push(code + ' ' + got);
       }
     }
     for (const name of ['node:fs', 'fs', 'file:///etc/passwd', 'data:text/javascript,export default 1', 'plugin', './worker.mjs', 'isolated-vm']) {
       try { await import(name); found.push('imported ' + name); } catch {}
     }
     try { found.push(...(import.meta.url ? ['meta'] : [])); } catch {}`,
  );
  expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
});

test('8: no handle of isolated-vm is reachable from any object', async () => {
  const done = await hunt(
    `const names = /^(Isolate|Reference|ExternalCopy|Callback|Context|Dereference|NativeModule|Script|Module|applySync|applySyncPromise|derefInto|copySync|__ivm.*)$/;
     let refused; try { await context.secret('A'); } catch (error) { refused = error; }
     const seen = new Set(); const queue = [globalThis, inputs, logger, context, context.signal, refused, new URL('http://a/'), new TextDecoder(), structuredClone];
     while (queue.length > 0 && seen.size < 50_000) {
       const at = queue.pop();
       if ((typeof at !== 'object' && typeof at !== 'function') || at === null || seen.has(at)) continue;
       seen.add(at);
       if (names.test(at.constructor?.name ?? '')) found.push('constructor ' + at.constructor.name);
       for (const key of Reflect.ownKeys(at)) {
         if (typeof key === 'string' && names.test(key)) found.push('key ' + key);
         const property = Reflect.getOwnPropertyDescriptor(at, key);
         queue.push(property.value, property.get, property.set);
       }
       queue.push(Object.getPrototypeOf(at));
     }
     if (seen.size < 500) found.push('the hunt saw only ' + seen.size);`,
  );
  expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
});

test('9: a plugin names no host call, whatever it gives as arguments', async () => {
  const methods: string[] = [];
  w.answerCall = (call, peer) => {
    methods.push(call.method);
    const { token, callId } = call;
    peer.send({ case: 'hostReply', value: { token, callId, ok: false, code: 'POLICY_DENIED', message: 'no' } });
  };
  const done = await hunt(
    `for (const name of ['constructor', '__proto__', 'toString', 0, Symbol('s'), 'x'.repeat(1_000_000), null, undefined, {}]) {
       try { await context.secret(name); found.push('secret'); } catch {}
       try { await context.fetch(name, { method: name }); found.push('fetch'); } catch {}
     }`,
  );
  expect(done).toMatchObject({ status: 'COMPLETED', outputs: { found: [] } });
  expect(methods).toContain('secret');
  expect(methods.filter((method) => method !== 'secret' && method !== 'fetch')).toEqual([]);
});

test('10: nothing of a step reaches the next step of the same plugin', async () => {
  const source = bundleOf(
    `const found = [typeof globalThis.left, Symbol.for('left') in globalThis, typeof Object.prototype.left, typeof Array.prototype.at.left, typeof record.left];
     globalThis.left = 1; globalThis[Symbol.for('left')] = 1; Object.prototype.left = 1; Array.prototype.at.left = 1; record.left = 1;
     setTimeout(() => { globalThis.late = 1; }, 5);
     return { found };`,
    found,
  );
  const first = await w.run(source);
  for (let i = 0; i < 5; i++) expect((await w.run(source)).outputs).toEqual(first.outputs);
  expect(first.outputs).toEqual({ found: ['undefined', false, 'undefined', 'undefined', 'undefined'] });
});

test('58: code that goes on after the end of its step is gone with its isolate', async () => {
  const source = bundleOf(
    `(async () => { for (;;) { await new Promise((r) => setTimeout(r, 1)); console.log('still here'); } })();
     new FinalizationRegistry(() => console.log('finalized')).register({}, 1);
     return { found: 'ended' };`,
    found,
  );
  const done = await w.run(source);
  expect(done.outputs).toEqual({ found: 'ended' });
  const after = await w.run(bundleOf("await new Promise((r) => setTimeout(r, 30)); return { found: 'next' };", found));
  expect(after).toMatchObject({ outputs: { found: 'next' }, logs: [] });
});

test('the plugin finds no variable of the process that started its worker', async () => {
  const done = await hunt(
    'for (const key of Object.getOwnPropertyNames(globalThis)) if (/env|argv|path|secret|flowops/i.test(key)) found.push(key);',
  );
  expect(done).toMatchObject({ outputs: { found: [] } });
});
