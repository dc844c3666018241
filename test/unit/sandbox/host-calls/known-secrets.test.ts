import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KnownSecrets } from '../../../../sandbox/host-calls/known-secrets.ts';

function knowing(...values: string[]): KnownSecrets {
  const known = new KnownSecrets();
  for (const [index, value] of values.entries()) expect(known.add(`S${index}`, value)).toBe(true);
  return known;
}

const SECRET = 'p@ss "w\\rd"/ü+1';

describe('a known secret', () => {
  it.each([
    ['as it is', SECRET],
    ['inside JSON', JSON.stringify({ a: SECRET })],
    ['inside a URL', `https://a.example/?t=${encodeURIComponent(SECRET)}`],
    ['inside a form', new URLSearchParams({ t: SECRET }).toString()],
    ['in base64', Buffer.from(SECRET).toString('base64')],
    ['in a Basic header', `Basic ${Buffer.from(`u:${SECRET}`).toString('base64')}`],
    ['in a longer Basic header', `Basic ${Buffer.from(`ab:${SECRET}:rest`).toString('base64')}`],
    ['in base64url', Buffer.from(`user:${SECRET}`).toString('base64url')],
  ])('is found and taken out %s', (_, text) => {
    const known = knowing(SECRET);
    expect(known.holds(text)).toBe(true);
    expect(known.findIn([text])).toEqual(['S0']);
    expect(known.redact(text)).toContain('***');
    expect(known.holds(known.redact(text))).toBe(false);
  });

  it('in base64 is found at every alignment and with anything around it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6 }), fc.uint8Array(), fc.uint8Array(), (secret, before, after) => {
        const text = Buffer.concat([before, Buffer.from(secret), after]).toString('base64');
        expect(knowing(secret).holds(text)).toBe(true);
      }),
    );
  });

  it('shorter than six characters is left alone', () => {
    const known = knowing('12345');
    expect(known.redact('12345')).toBe('12345');
    expect(known.names).toEqual(['S0']);
  });

  it('that contains another is taken out whole', () => {
    expect(knowing('secret', 'secret-and-more').redact('x secret-and-more y secret z')).toBe('x *** y *** z');
  });

  it('is remembered with its former values', () => {
    const known = new KnownSecrets();
    known.add('T', 'former-value');
    known.add('T', 'present-value');
    expect(known.redact('former-value present-value')).toBe('*** ***');
    expect(known.names).toEqual(['T']);
  });

  it('has no room beyond 64 values', () => {
    const known = new KnownSecrets();
    for (let at = 0; at < 64; at++) expect(known.add('T', `value-${at}`)).toBe(true);
    expect(known.add('T', 'value-64')).toBe(false);
    expect(known.add('T', 'value-0')).toBe(true);
  });
});

/** Keys and texts of a value. */
function stringsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => [key, ...stringsOf(item)]);
}

describe('JSON with secrets', () => {
  it('stays JSON whatever the secret is made of and wherever it stands', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6 }), fc.jsonValue({ maxDepth: 4 }), (secret, value) => {
        const text = JSON.stringify({ value, a: `x${secret}y`, [`k${secret}`]: [secret], n: 1 });
        fc.pre(!text.includes('__proto__')); // told below
        const { found, json } = knowing(secret).redactJson(text);
        expect(found).toBeGreaterThanOrEqual(3);
        expect(JSON.parse(json)).toMatchObject({ n: 1 });
        expect(stringsOf(JSON.parse(json)).filter((part) => part.includes(secret))).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('is found through any escaping', () => {
    const escaped = '{"a":"\\u0074\\u006fken-value"}';
    expect(knowing('token-value').redactJson(escaped)).toEqual({ found: 1, json: '{"a":"***"}' });
  });

  it('without one is left as it was, byte for byte', () => {
    const text = '{ "a" : 1.0, "token-value ": 123456 }';
    expect(knowing('another-value', '1234567').redactJson(text)).toEqual({ found: 0, json: text });
  });

  it('keeps a key named __proto__ out, by giving nothing', () => {
    expect(knowing('token-value').redactJson('{"__proto__":"token-value"}').json).toBe('{}');
  });
});
