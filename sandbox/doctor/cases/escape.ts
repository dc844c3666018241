/** Cases 1 to 10, 58 and 68: plugins that look for a way out of their isolate, and must find nothing not their own. */
import { ends, hunt, type PluginAttempt, type PluginCase, SHORT_WALL } from '../case.ts';

const runtimes = ['isolated-vm'] as const;
const found = { found: 'json' } as const;

/** `freshness: context`: what one step leaves is not in the next, and what goes on costs the isolate, not the next step. */
const IN_A_KEPT_ISOLATE: readonly PluginAttempt[] = [
  [
    'state, where the isolate is kept',
    `const left = [typeof globalThis.left, Symbol.for('left') in globalThis, typeof Object.prototype.left, typeof record.left, RegExp.$1, typeof FinalizationRegistry, typeof WeakRef];
     for (const o of [globalThis, Object.prototype, record]) o.left = 1;
     globalThis[Symbol.for('left')] = 1; /(left)/.test('left'); setTimeout(() => console.log('late'), 50);
     return { found: left.join() === 'undefined,false,undefined,undefined,,undefined,undefined' || left };`,
  ],
  [
    'an await loop',
    "const left = typeof globalThis.left; globalThis.left = 1; (async () => { for (;;) await null; })(); return { found: left === 'undefined' };",
  ],
  [
    'a loop of timers',
    "const left = typeof globalThis.left; globalThis.left = 1; (async () => { for (;;) { await new Promise((r) => setTimeout(r, 0)); console.log('late'); } })(); return { found: left === 'undefined' };",
  ],
  [
    'a loop of host calls, one of them pending',
    "const left = typeof globalThis.left; globalThis.left = 1; (async () => { for (;;) { await context.secret('A').catch(() => {}); globalThis.left++; } })(); return { found: left === 'undefined' };",
  ],
  [
    'a rejection after its end',
    '(async () => { for (let i = 0; i < 50; i++) await null; throw new Error("late"); })(); return { found: true };',
  ],
].map(([what = '', body = '']) => ({
  what: `in a kept isolate: ${what}`,
  body,
  outputs: found,
  freshness: 'context',
  times: 4,
  expect: { endings: ['COMPLETED'], outputs: { found: true }, lines: [] },
}));

export const ESCAPE_CASES: readonly PluginCase[] = [
  {
    kind: 'plugin',
    id: '1',
    title: 'a constructor of something handed in leads to no global of the host',
    runtimes,
    attempts: [
      hunt(
        'constructors of every object',
        `let refused; try { await context.secret('A'); } catch (error) { refused = error; }
         const given = { inputs, logger, context, signal: context.signal, refused, console, log: logger.info, set: setTimeout,
           url: new URL('http://a/'), text: inputs.text, self: globalThis, fetched: context.fetch('x').catch((e) => e) };
         for (const [name, value] of Object.entries(given)) {
           if (value === undefined || value === null) continue;
           const constructors = [value.constructor, value.constructor?.constructor, Object.getPrototypeOf(value)?.constructor?.constructor];
           for (const make of constructors) {
             if (typeof make !== 'function') continue;
             for (const code of ['return process', 'return require', 'return globalThis.process', 'return global', 'return this']) {
               try { const got = make(code)(); if (got !== undefined && got !== globalThis) found.push([name, code, typeof got]); } catch {}
             }
           }
         }`,
        { inputs: { text: 'x' } },
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '2',
    title: 'every prototype chain ends at an object of the guest',
    runtimes,
    attempts: [
      hunt(
        'walks by __proto__ and __lookupGetter__',
        `const own = new Set([Object.prototype, Function.prototype, null]);
         for (const value of [inputs, logger, context, logger.info, context.fetch, setTimeout, console, console.log, crypto, performance]) {
           let at = value; let hops = 0;
           while (at !== null && hops++ < 20) { at = Object.getPrototypeOf(at); if (own.has(at)) break; }
           if (!own.has(at) && !(at instanceof Object)) found.push(String(value));
           const getter = value.__lookupGetter__?.('__proto__');
           if (getter && getter.call(value) !== Object.getPrototypeOf(value)) found.push('getter');
         }`,
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '3',
    title: 'a polluted Object.prototype sees nothing of ours and changes no result',
    runtimes,
    attempts: [
      hunt(
        'accessors on Object.prototype and replaced builtins',
        `for (const name of ['get', 'set', 'then', 'toJSON', 'value', 'writable', 'retryable', 'status', 'code', 'outputsJson']) {
           Object.defineProperty(Object.prototype, name, { __proto__: null, configurable: true, get() {
             const keys = Object.keys(this).join(); if (/host|enter|token|digest/.test(keys)) found.push(name + ':' + keys); return undefined; }, set() {} });
         }
         Array.prototype.push = function (...values) { for (const v of values) this[this.length] = v; return this.length; };
         Array.prototype[Symbol.iterator] = function* () { yield 'poisoned'; };
         Promise.prototype.then = new Proxy(Promise.prototype.then, { apply: (f, self, args) => Function.prototype.apply.call(f, self, args) });
         JSON.stringify = () => '"forged"'; JSON.parse = () => ({ forged: true }); Reflect.apply = () => 'forged'; Map.prototype.get = () => 'forged';
         console.log('still logged'); await new Promise((r) => setTimeout(r, 2));`,
        { expect: { endings: ['COMPLETED'], outputs: { found: [] }, lines: ['still logged'] } },
      ),
      ends(
        'a toJSON for everything, in the report of its end',
        'PLUGIN_ERROR',
        'Object.prototype.toJSON = function () { return Array.isArray(this) ? this : new Array(1e6); }; throw new Error("x");',
      ),
      ends(
        'a toJSON for everything, in what it asks its host',
        'PLUGIN_ERROR',
        // Text that is far cheaper to make than to read.
        'const big = Array(4e5).fill([]); Object.prototype.toJSON = function () { return Array.isArray(this) ? this : big; }; await context.secret("A");',
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '4',
    title: 'species, thenables that settle twice and getters that change give one honest result',
    runtimes,
    attempts: [
      ends(
        'Symbol.species',
        'COMPLETED',
        `class Sly extends Promise { static get [Symbol.species]() { return function (run) { run(() => {}, () => {}); return { then() {} }; }; } }
         Promise.prototype.constructor = Sly; return { found: [] };`,
        { outputs: found, limits: SHORT_WALL },
      ),
      {
        what: 'a thenable that resolves twice and rejects',
        body: "return { then(yes, no) { yes({ found: 1 }); yes({ found: 2 }); no(new Error('three')); } };",
        outputs: found,
        expect: { endings: ['COMPLETED'], outputs: { found: 1 } },
      },
      {
        what: 'a getter with another answer the second time',
        body: "let n = 0; return { get found() { return n++ === 0 ? ['first'] : () => 'second'; } };",
        outputs: found,
        expect: { endings: ['COMPLETED'], outputs: { found: ['first'] } },
      },
    ],
  },
  {
    kind: 'plugin',
    id: '5',
    title: 'call sites and stacks show no path of the host and no object of ours',
    runtimes,
    attempts: [
      hunt(
        'prepareStackTrace',
        `Error.stackTraceLimit = 200;
         Error.prepareStackTrace = (error, sites) => sites.map((site) => [String(site.getFileName()), typeof site.getThis(), typeof site.getFunction(), String(site.getEvalOrigin())]);
         const stacks = [new Error('a').stack];
         try { await context.secret('A'); } catch (error) { stacks.push(error.stack); }
         await new Promise((resolve) => setTimeout(() => { stacks.push(new Error('b').stack); resolve(); }, 1));
         try { logger.info({ toString() { throw new Error('c'); } }); new URL('::'); } catch (error) { stacks.push(error.stack); }
         try { (function deep() { deep(); })(); } catch (error) { stacks.push(error.stack); }
         for (const stack of stacks) for (const [file, self, fn, origin] of Array.isArray(stack) ? stack : []) {
           if (!/^(undefined|null|flowops:prelude)$/.test(origin)) found.push(origin);
           if (!/^(doctor[\\w.-]*\\.js|flowops:prelude|flowops:loader|undefined|null)$/.test(file)) found.push(file);
           if (file.startsWith('flowops:') && (self !== 'undefined' || fn !== 'undefined')) found.push([file, self, fn]);
         }
         delete Error.prepareStackTrace;`,
      ),
      hunt(
        'callers, which functions that are not strict give away with their arguments',
        `const spy = Function('found', \`return function spy() {
           for (let at = spy.caller, hops = 0; at !== null && at !== undefined && hops < 20; hops++, at = at.caller) found.push(String(at).slice(0, 80));
           return 'x'; }\`)(found);
         const sly = () => Object.defineProperty({ toString: spy, valueOf: spy, toJSON: spy }, 'message', { get: spy, enumerable: true });
         const tries = [() => new URL(sly()), () => new URLSearchParams(sly()), () => logger.info(sly(), sly()), () => console.log('%s', sly()), () => console.count(sly()),
           () => context.progress(0.5, sly()), () => new Headers([[sly(), sly()]]), () => new Request(sly()), () => new Response(sly(), { statusText: sly() }), () => btoa(sly()), () => atob(sly()),
           () => structuredClone(sly()), () => new TextDecoder(sly()), () => new TextEncoder().encode(sly()), () => crypto.getRandomValues(sly()), () => new Event(sly()),
           () => AbortSignal.any({ [Symbol.iterator]: spy }), () => setTimeout(spy, sly()), () => queueMicrotask(spy), () => context.secret(sly()).catch(spy), () => context.fetch(sly()).catch(spy)];
         const target = new EventTarget(); target.addEventListener('x', spy); tries.push(() => target.dispatchEvent(new Event('x')));
         const own = new AbortController(); own.signal.addEventListener('abort', spy); own.signal.onabort = spy; tries.push(() => own.abort());
         for (const attempt of tries) try { await attempt(); } catch {}
         Map.prototype.get = Set.prototype.add = Array.prototype.push = String.prototype.replace = spy;
         for (const attempt of tries) try { await attempt(); } catch {}
         await new Promise((resolve) => setTimeout(resolve, 20));`,
      ),
      {
        what: 'a forged stack',
        body: "const e = new Error('x'); e.stack = 'at /etc/passwd:1:1\\n    at a (/root/worker.mjs:1:1)'; throw e;",
        expect: { endings: ['PLUGIN_ERROR'], says: 'x', stack: '' },
      },
    ],
  },
  {
    kind: 'plugin',
    id: '6',
    title: 'proxies thrown, returned or used as outputs end the step with its code',
    runtimes,
    attempts: [
      ends(
        'a proxy thrown',
        'PLUGIN_ERROR',
        'throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 1; }, ownKeys() { throw 1; } });',
      ),
      ends(
        'an error whose getters throw',
        'PLUGIN_ERROR',
        'throw Object.defineProperties(new Error(), { message: { get() { throw 1; } }, stack: { get() { throw 1; } } });',
      ),
      ends(
        'a revoked proxy as an output',
        'OUTPUT_INVALID',
        'const p = Proxy.revocable({}, {}); p.revoke(); return { found: p.proxy };',
        { outputs: found },
      ),
      ends(
        'a proxy returned',
        'OUTPUT_INVALID',
        "return new Proxy({}, { get(_, key) { if (key === 'then') return undefined; throw new Error('no'); } });",
        { outputs: found },
      ),
      ends('a rejection with a proxy', 'PLUGIN_ERROR', 'await Promise.reject(new Proxy(Error, {}));'),
      ends(
        'a floating rejection with a proxy',
        'PLUGIN_ERROR',
        'Promise.reject(new Proxy({}, { get() { throw 1; } })); await new Promise(() => {});',
      ),
      ends('an error of 10 MB', 'PLUGIN_ERROR', "throw new Error('x'.repeat(10_000_000));"),
    ],
  },
  {
    kind: 'plugin',
    id: '7',
    title: 'import, require, eval, Function and WebAssembly give no more than the guest has',
    runtimes,
    attempts: [
      hunt(
        'code made at run time',
        `for (const code of ['typeof process', 'typeof require', 'typeof Buffer', 'typeof WebAssembly', 'typeof SharedArrayBuffer', 'typeof Atomics', 'typeof Deno']) {
           for (const run of [(c) => (0, eval)(c), (c) => Function('return ' + c)(), (c) => new (async () => {}).constructor('return ' + c)()]) {
             const got = await run(code); if (got !== 'undefined') found.push(code + ' ' + got);
           }
         }
         for (const name of ['node:fs', 'fs', 'file:///etc/passwd', 'data:text/javascript,export default 1', 'plugin', './worker.mjs', 'isolated-vm']) {
           try { await import(name); found.push('imported ' + name); } catch {}
         }
         try { if (import.meta.url) found.push('meta'); } catch {}`,
      ),
      hunt(
        'names of globals',
        'for (const key of Object.getOwnPropertyNames(globalThis)) if (/env|argv|path|secret|flowops/i.test(key)) found.push(key);',
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '8',
    title: 'no handle of isolated-vm is reachable from any object',
    runtimes,
    attempts: [
      hunt(
        'everything reachable',
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
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '9',
    title: 'no host call can be named by a plugin, whatever it gives as arguments',
    runtimes,
    attempts: [
      hunt(
        'names that are no names',
        `for (const name of ['constructor', '__proto__', 'toString', 0, Symbol('s'), 'x'.repeat(1_000_000), null, undefined, {}]) {
           try { await context.secret(name); found.push('secret'); } catch {}
           try { await context.fetch(name, { method: name }); found.push('fetch'); } catch {}
         }`,
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '10',
    title: 'nothing of a step reaches the next step of the same plugin',
    runtimes,
    attempts: [
      {
        what: 'globals, symbols, prototypes',
        body: `const left = [typeof globalThis.left, Symbol.for('left') in globalThis, typeof Object.prototype.left, typeof Array.prototype.at.left, typeof record.left];
          globalThis.left = 1; globalThis[Symbol.for('left')] = 1; Object.prototype.left = 1; Array.prototype.at.left = 1; record.left = 1;
          setTimeout(() => { globalThis.late = 1; }, 5);
          return { found: left };`,
        outputs: found,
        times: 4,
        expect: {
          endings: ['COMPLETED'],
          outputs: { found: ['undefined', false, 'undefined', 'undefined', 'undefined'] },
        },
      },
    ],
  },
  {
    kind: 'plugin',
    id: '58',
    title: 'code that goes on after the end of its step is gone with its isolate',
    runtimes,
    attempts: [
      {
        what: 'a loop of timers, a finalizer and a pending host call',
        body: `const before = globalThis.count; globalThis.count = 1;
          (async () => { for (;;) { await new Promise((r) => setTimeout(r, 1)); globalThis.count++; } })();
          (async () => { for (;;) { await null; if (globalThis.stopped) break; await new Promise((r) => setTimeout(r, 0)); } })();
          new FinalizationRegistry(() => console.log('finalized')).register({}, 1);
          context.secret('A').catch(() => {});
          return { found: typeof before };`,
        outputs: found,
        times: 5,
        expect: { endings: ['COMPLETED'], outputs: { found: 'undefined' }, lines: [] },
      },
      {
        what: 'a line from beyond its end',
        body: "(async () => { for (;;) { await new Promise((r) => setTimeout(r, 1)); console.log('still here'); } })(); return { found: 1 };",
        outputs: found,
        times: 3,
        expect: { endings: ['COMPLETED'], outputs: { found: 1 }, lines: [] },
      },
      ...IN_A_KEPT_ISOLATE,
    ],
  },
  {
    kind: 'plugin',
    id: '68',
    title: 'a top level that never ends or reaches out is bounded, when run and when inspected',
    runtimes,
    attempts: (
      [
        // 2 s of CPU within 5 s of wall time: which of the two is met first is for the other work of the machine to say.
        ['for (;;);', ['LIMIT_CPU', 'LIMIT_WALL']],
        ['for (;;) await null;', ['LIMIT_CPU', 'LIMIT_WALL']],
        ['await new Promise(() => {});', ['LIMIT_WALL']],
      ] as const
    )
      .flatMap(([prologue, inspected]) => [
        ends(`top level ${prologue}`, 'LIMIT_WALL', 'return {};', { prologue, limits: SHORT_WALL }),
        ends(`inspected: ${prologue}`, inspected, 'return {};', { prologue, purpose: 'inspect' }),
      ])
      .concat([
        hunt('reads and writes at the top level', 'if (reached.length > 0) found.push(reached);', {
          prologue: `const reached = []; for (const name of ['process', 'require', 'Buffer', 'Deno', 'Bun', 'module', '__dirname']) if (name in globalThis) reached.push(name);
          for (const name of ['node:fs', 'node:child_process']) try { await import(name); reached.push(name); } catch {}`,
        }),
      ]),
  },
];
