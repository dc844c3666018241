import { expect, test } from 'vitest';
import { describeValue, toJsonText } from '../../../sdk/json-text.ts';

const text = (value: unknown): string => {
  const json = toJsonText(value, 10_000);
  return json.ok ? json.text : `${json.at} ${json.problem}`;
};

test('JSON values are written as JSON.stringify writes them', () => {
  const value = { a: [1, -0, 1.5, 'é\n"', true, null], b: { c: {} }, d: [] };
  expect(text(value)).toBe(JSON.stringify(value));
});

test('a property that is undefined is left out and a hole in an array is null, as in JSON.stringify', () => {
  expect(text({ a: undefined, b: [undefined] })).toBe('{"b":[null]}');
});

test('toJSON is honoured, so a Date is its ISO text', () => {
  expect(text({ at: new Date(0) })).toBe('{"at":"1970-01-01T00:00:00.000Z"}');
});

test.each([
  [Number.NaN, 'NaN'],
  [{ a: [Number.POSITIVE_INFINITY] }, '.a[0] is Infinity'],
  [{ f: () => 1 }, '.f is a function'],
  [10n, 'a BigInt'],
  [Symbol('x'), 'a symbol'],
  [{ m: new Map([[1, 2]]) }, '.m is a Map'],
  [{ p: Promise.resolve() }, '.p is a Promise (is an await missing?)'],
  [{ e: new TypeError('x') }, '.e is an Error'],
  [{ u: new Uint8Array(2) }, '.u is a typed array'],
  [{ s: '\ud800' }, '.s is text with half a surrogate pair'],
  [JSON.parse('{"__proto__":1}'), 'a key named __proto__'],
])('%o is refused and the message says what it is and where', (value, problem) => {
  expect(text(value)).toContain(problem);
});

test('a cycle ends as a problem about the depth', () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  expect(text(cycle)).toContain('nested deeper than 64 levels, or in a cycle');
});

test('a getter that throws and a revoked proxy are problems, not exceptions', () => {
  const thrower = Object.defineProperty({}, 'x', {
    enumerable: true,
    get() {
      throw new Error('no');
    },
  });
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  expect(text(thrower)).toContain('could not be read');
  expect(text(proxy)).toContain('could not be read');
  expect(describeValue(proxy)).toBe('a proxy that cannot be read');
});

test('a property is read once, so a getter cannot show one value to the check and another to the writer', () => {
  let reads = 0;
  const sly = Object.defineProperty({}, 'x', { enumerable: true, get: () => (reads++ === 0 ? 1 : () => 1) });
  expect(text(sly)).toBe('{"x":1}');
  expect(reads).toBe(1);
});

test('writing stops at the length, also for a value that would never end', () => {
  const endless = new Proxy([], { get: (_, key) => (key === 'length' ? 2 ** 40 : 'x') });
  const json = toJsonText(endless, 1000);
  expect(json).toMatchObject({ ok: false, reason: 'too-long' });
});
