import { plainUrl } from '@flowops/sandbox/guest/inject/fetch/plain-url.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test.each([
  'https://a.example/',
  'http://localhost:8080/v1/items?limit=10&after=a,b',
  "https://api.x-y.example:444/~me/(a)'b'/@c;d=1",
])('%s needs no parser', (url) => {
  expect(plainUrl(url)).toBe(url);
});

test.each([
  ...[
    'https://A.example/',
    'https://a.example:443/',
    'https://a.example:99999/',
    'https://127.0.0.1/',
    'http://0x7f.1/',
  ],
  ...[
    'https://a.example./',
    'https://xn--a.example/',
    'https://ab--c.example/',
    'https://a_b.example/',
    'https://[::1]/',
  ],
  ...[
    'https://u:p@a.example/',
    'https://a.example/../b',
    'https://a.example/.',
    'https://a.example/%2e',
    'ftp://a.example/',
  ],
  ...[
    "https://a.example/?'",
    'https://a.example/#f',
    'https://a.example/a b',
    ' https://a.example/',
    'https://a.example\\b',
  ],
])('%s is for the parser', (url) => {
  expect(plainUrl(url)).toBeUndefined();
});

const some = (pieces: readonly string[], maxLength: number) =>
  fc.array(fc.constantFrom(...pieces), { maxLength }).map((list) => list.join(''));
/** Near what is plain, so that much of it is taken and the rest only just not. */
const anyUrl = fc
  .tuple(
    fc.constantFrom('https://', 'https://', 'http://', 'http://', 'https:/', 'ftp://', ''),
    some(['a', 'b', '.', 'c1', '-', '--', 'xn--', '0x7f', '127', 'é', '_', 'A', '[', '@'], 4).map(
      (host) => `a${host}b`,
    ),
    fc.constantFrom('', '', '', ':80', ':443', ':8080', ':0', ':01', ':65535', ':65536', ':'),
    some(
      ['/', '/', 'a', '.', '..', '/.', '%2e', '%', "'", ' ', '\t', '\\', '"', '<', '|', '~', '^', ':', '@', '!', 'é'],
      5,
    ),
    some(['?', '?', 'a', '=', '&', "'", '"', '#', '/', '?', ' ', '`', '%41', '+', '{', 'é'], 4),
  )
  .map((parts) => parts.join(''));

test('whatever is taken is what the URL standard makes of it', () => {
  fc.assert(
    fc.property(anyUrl, (text) => {
      const plain = plainUrl(text);
      if (plain !== undefined) expect(plain).toBe(new URL(text).href);
    }),
    { numRuns: 20_000 },
  );
});
