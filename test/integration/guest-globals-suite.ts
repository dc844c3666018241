/**
 * What a plugin can call (proto/guest-globals.ts), held against every tier in both directions: what the list names is
 * there and does what its standard says, and nothing else is there.
 */
import {
  DIGEST_ALGORITHMS,
  GUEST_GLOBALS,
  GUEST_MEMBERS,
  MISSING_MEMBERS,
  REMOVED_GLOBALS,
} from '@flowops/proto/guest-globals.ts';
import ivm from 'isolated-vm';
import { afterAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { StepHost } from '../support/step-host.ts';
import { bundleOf } from '../support/worker-host.ts';

const text = { o: { type: 'string' } } as const;
const json = { o: { type: 'json' } } as const;

/**
 * Names of a class and of its instances, inherited ones of other classes too; a function body. An encoder's may lie in
 * the instance itself; Node's own Request has one that no standard knows.
 */
const MEMBERS_OF = `
  const chain = (from) => from === null || from === Object.prototype || from === Function.prototype
    ? [] : [...Object.getOwnPropertyNames(from), ...chain(Object.getPrototypeOf(from))];
  const members = (from, but) => [...new Set(chain(from))].filter((name) => !but.includes(name)).sort();
  return Object.fromEntries(classes.map((name) => [name, {
    class: members(globalThis[name], ['length', 'name', 'prototype']),
    of: members(/^Text/.test(name) ? new globalThis[name]() : globalThis[name].prototype, ['constructor', 'attribute']),
  }]));
`;
const membersSchema = z.record(z.string(), z.object({ class: z.array(z.string()), of: z.array(z.string()) }));
const CLASSES = GUEST_GLOBALS.filter((name) => /^[A-Z]/.test(name));

export function guestGlobalsSuite(w: StepHost): void {
  afterAll(() => w.close());

  const outputOf = async (body: string): Promise<unknown> => {
    const done = await w.run(bundleOf(body, { outputs: json }));
    expect(done).toMatchObject({ status: 'COMPLETED', code: '' });
    return z.object({ o: z.unknown() }).parse(done.outputs).o;
  };

  test('exactly the globals of the closed list are there beside ECMAScript', async () => {
    const bare = new ivm.Isolate();
    const names: unknown = bare.createContextSync().evalSync('JSON.stringify(Object.getOwnPropertyNames(globalThis))');
    bare.dispose();
    const ecmascript = (JSON.parse(String(names)) as string[]).filter((name) => name !== 'console');
    const source = bundleOf(
      `const names = Object.getOwnPropertyNames(globalThis); const symbols = Object.getOwnPropertySymbols(globalThis);
     return { o: { names, symbols: symbols.map(String), types: names.map((n) => typeof globalThis[n]) } };`,
      { outputs: { o: { type: 'json' } } },
    );
    const { outputs } = await w.run(source);
    const removed: readonly string[] = REMOVED_GLOBALS;
    const expected = [...ecmascript.filter((name) => !removed.includes(name)), ...GUEST_GLOBALS];
    expect(outputs).toMatchObject({ o: { names: expect.any(Array) } });
    const found = (outputs as { o: { names: string[]; types: string[] } }).o;
    expect([...found.names].sort()).toEqual([...expected].sort());
    const ofList = found.names.filter((name) => GUEST_GLOBALS.some((global) => global === name));
    expect(ofList.map((name) => found.types[found.names.indexOf(name)])).not.toContain('undefined');
  });

  test('WebAssembly is there where the rule grants it, shared memory never', async () => {
    const source = bundleOf('return { o: [typeof WebAssembly, typeof SharedArrayBuffer, typeof Atomics].join() };', {
      outputs: text,
    });
    expect((await w.run(source)).outputs).toEqual({ o: 'undefined,undefined,undefined' });
    expect((await w.run(source, { allowWasm: true })).outputs).toEqual({ o: 'object,undefined,undefined' });
  });

  test('the globals do what their specifications say', async () => {
    const source = bundleOf(
      `const seen = [];
     const controller = new AbortController();
     controller.signal.addEventListener('abort', () => seen.push(controller.signal.reason.name));
     controller.abort(); controller.abort();
     seen.push(controller.signal instanceof EventTarget, AbortSignal.any([controller.signal]).aborted);
     try { new AbortSignal(); } catch (e) { seen.push(e.name); }
     seen.push(new URL('../b?q=ü#h', 'https://exämple.org/a/c').href, new URLSearchParams({ a: '1 2' }).toString());
     seen.push(new TextDecoder().decode(new TextEncoder().encode('é€😀')), atob(btoa('\\u00ff!')));
     const original = { when: new Date(0), map: new Map([['k', new Set([1])]]) }; original.self = original;
     const clone = structuredClone(original);
     seen.push(clone !== original && clone.self === clone && clone.when.getTime() === 0 && clone.map.get('k').has(1));
     try { structuredClone(() => 1); } catch (e) { seen.push('not cloned'); }
     seen.push(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()));
     seen.push(crypto.getRandomValues(new Uint8Array(32)).some((byte) => byte > 0), performance.now() >= 0);
     const order = []; queueMicrotask(() => order.push('micro')); setTimeout((x) => order.push(x), 0, 'timer');
     const never = setTimeout(() => order.push('cleared'), 1); clearTimeout(never);
     await new Promise((resolve) => { let n = 0; const id = setInterval(() => { if (++n === 3) { clearInterval(id); resolve(); } }, 2); });
     seen.push(order.join());
     return { o: seen };`,
      { outputs: { o: { type: 'json' } } },
    );
    expect((await w.run(source)).outputs).toEqual({
      o: [
        'AbortError',
        true,
        true,
        'TypeError',
        'https://xn--exmple-cua.org/b?q=%C3%BC#h',
        'a=1+2',
        'é€😀',
        'ÿ!',
        true,
        'not cloned',
        true,
        true,
        true,
        'micro,timer',
      ],
    });
  });

  test('the objects of the list hold what is named, and nothing else', async () => {
    const places = JSON.stringify(Object.keys(GUEST_MEMBERS));
    const found = await outputOf(
      `return { o: Object.fromEntries(${places}.map((place) => {
         const object = place.split('.').reduce((of, name) => of[name], globalThis);
         return [place, { names: Object.getOwnPropertyNames(object).sort(), symbols: Object.getOwnPropertySymbols(object).length,
           isPlain: Object.getPrototypeOf(object) === Object.prototype }];
       })) };`,
    );
    const expected = Object.entries(GUEST_MEMBERS).map(([place, names]) => [
      place,
      { names: [...names].sort(), symbols: 0, isPlain: true },
    ]);
    expect(found).toEqual(Object.fromEntries(expected));
  });

  test('the classes have the members of their standards but those named as missing, and their names', async () => {
    const classes = JSON.stringify(CLASSES);
    const found = membersSchema.parse(
      await outputOf(`return { o: (() => { const classes = ${classes}; ${MEMBERS_OF} })() };`),
    );
    const standard = membersSchema.parse(new Function('classes', MEMBERS_OF)(CLASSES));
    const lacking = CLASSES.map((name) => {
      const missing = (side: 'class' | 'of') =>
        standard[name]?.[side].filter((member) => !found[name]?.[side].includes(member));
      return [name, { class: missing('class'), of: missing('of') }];
    });
    const named = CLASSES.map((name) => [name, { class: [], of: [], ...MISSING_MEMBERS[name] }]);
    expect(Object.fromEntries(lacking)).toEqual(Object.fromEntries(named));
    const more = CLASSES.flatMap((name) =>
      (['class', 'of'] as const).flatMap((side) =>
        (found[name]?.[side] ?? [])
          .filter((member) => !standard[name]?.[side].includes(member))
          .map((member) => `${name} ${member}`),
      ),
    );
    // Node's Event has them in its instances only.
    expect(more).toEqual(['AT_TARGET', 'BUBBLING_PHASE', 'CAPTURING_PHASE', 'NONE'].map((name) => `Event ${name}`));
    const names = await outputOf(
      `return { o: ${classes}.map((name) => [globalThis[name].name, Object.prototype.toString.call(globalThis[name].prototype)]) };`,
    );
    expect(names).toEqual(CLASSES.map((name) => [name, `[object ${name}]`]));
  });

  test('digests are those of every other implementation', async () => {
    const inputs = ['', 'abc', 'a'.repeat(55), 'a'.repeat(64), 'é€😀'.repeat(100)];
    const body = `const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      const o = {};
      for (const name of ${JSON.stringify(DIGEST_ALGORITHMS)}) {
        o[name] = [];
        for (const input of ${JSON.stringify(inputs)}) o[name].push(hex(await crypto.subtle.digest(name, new TextEncoder().encode(input))));
      }
      return { o };`;
    const expected: Record<string, string[]> = {};
    for (const name of DIGEST_ALGORITHMS) {
      const digests = inputs.map((input) => crypto.subtle.digest(name, new TextEncoder().encode(input)));
      expected[name] = (await Promise.all(digests)).map((digest) => Buffer.from(digest).toString('hex'));
    }
    expect(await outputOf(body)).toEqual(expected);
  });

  test('a digest takes any bytes and any spelling, gives an ArrayBuffer of its own, and rejects the rest by name', async () => {
    const body = `const bytes = new Uint8Array([0, 97, 98, 99, 0]); const { digest } = crypto.subtle;
      const first = async (data, name = 'sha-256') => new Uint8Array(await digest(name, data))[0];
      const refused = async (...given) => { try { await digest(...given); return 'taken'; } catch (e) { return e.name + ': ' + e.message; } };
      const whole = await digest({ name: 'Sha-512' }, new Uint16Array(0));
      return { o: [
        await first(bytes.subarray(1, 4)), await first(new DataView(bytes.buffer, 1, 3)), await first(bytes.slice(1, 4).buffer),
        whole.constructor === ArrayBuffer, whole.byteLength,
        await refused('MD5', bytes), await refused('SHA-256', 'abc'), await refused(),
        typeof crypto.subtle.importKey,
      ] };`;
    expect(await outputOf(body)).toEqual([
      186,
      186,
      186,
      true,
      64,
      'NotSupportedError: crypto.subtle.digest knows SHA-1, SHA-256, SHA-384, SHA-512, not MD5',
      'TypeError: crypto.subtle.digest takes bytes: an ArrayBuffer, a typed array or a DataView',
      'NotSupportedError: crypto.subtle.digest knows SHA-1, SHA-256, SHA-384, SHA-512, not undefined',
      'undefined',
    ]);
  });
}
