import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  formatSignature,
  MAX_SIGNATURE_TEXT_BYTES,
  newPrivateKey,
  type Parsed,
  parsePublicKey,
  parseSignature,
  readPrivateKey,
  type SignedBundle,
  signBundle,
  signedText,
  verifyBundle,
} from '../../../proto/bundle-signature.ts';
import { digestOf } from '../../../proto/ids.ts';

const vectorSchema = z.strictObject({
  privateKeyPem: z.string(),
  publicKey: z.string(),
  keyId: z.string(),
  bundle: z.string(),
  digest: z.string(),
  name: z.string(),
  version: z.string(),
  signedText: z.string(),
  signature: z.string(),
});
const fixture = new URL('../../fixtures/signatures/vectors.json', import.meta.url);
const { vectors } = z
  .object({ about: z.string(), vectors: z.array(vectorSchema).min(2) })
  .parse(JSON.parse(readFileSync(fixture, 'utf8')));

function given<T>(parsed: Parsed<T>): T {
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.value;
}

function newKeys() {
  const { pem } = newPrivateKey();
  return given(readPrivateKey(pem));
}

const BUNDLE: SignedBundle = { digest: digestOf(Buffer.from('a')), name: 'core.hello', version: '1.0.0' };

describe('signatures that another program made', () => {
  it.each(vectors)('$name $version is signed with the same bytes and verified', (vector) => {
    const { digest, name, version } = vector;
    expect(digestOf(Buffer.from(vector.bundle))).toBe(digest);
    expect(Buffer.from(signedText({ digest, name, version })).toString('utf8')).toBe(vector.signedText);
    const { privateKey, publicKey } = given(readPrivateKey(vector.privateKeyPem));
    expect(publicKey).toMatchObject({ text: vector.publicKey, keyId: vector.keyId });
    expect(signBundle({ digest, name, version }, privateKey)).toEqual({
      keyId: vector.keyId,
      signature: vector.signature,
    });
    const theirs = { keyId: vector.keyId, signature: vector.signature };
    expect(verifyBundle({ digest, name, version }, theirs, given(parsePublicKey(vector.publicKey)))).toBe(true);
  });
});

describe('a signature', () => {
  const keys = newKeys();
  const signature = signBundle(BUNDLE, keys.privateKey);

  it.each<[string, Partial<SignedBundle>]>([
    ['other bytes', { digest: digestOf(Buffer.from('b')) }],
    ['another name', { name: 'core.hello2' }],
    ['another version', { version: '1.0.1' }],
    ['the same text parted otherwise', { name: 'core.hello\n1.0.0', version: '' }],
  ])('does not hold for %s', (_, change) => {
    expect(verifyBundle({ ...BUNDLE, ...change }, signature, keys.publicKey)).toBe(false);
  });

  it('does not hold under another key', () => {
    expect(verifyBundle(BUNDLE, signature, newKeys().publicKey)).toBe(false);
  });

  it('holds for what was signed and for nothing with one bit changed', () => {
    const bytes = Buffer.from(signature.signature, 'base64');
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        const forged = { ...signature, signature: changed.toString('base64') };
        return !verifyBundle(BUNDLE, forged, keys.publicKey);
      }),
    );
    expect(verifyBundle(BUNDLE, signature, keys.publicKey)).toBe(true);
  });

  it('is the same after its text was written and read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const signed = signBundle({ ...BUNDLE, digest: digestOf(bytes) }, keys.privateKey);
        expect(given(parseSignature(formatSignature(signed)))).toEqual(signed);
      }),
    );
  });
});

describe('the text of a .sig file', () => {
  const { signature, keyId } = signBundle(BUNDLE, newKeys().privateKey);
  const last = signature.at(-3) ?? '';
  // The 64 bytes leave four bits of that letter unused: its successor stands for the same bytes.
  const twin = `${signature.slice(0, -3)}${String.fromCharCode(last.charCodeAt(0) + 1)}==`;

  it.each<[string, string]>([
    ['nothing', ''],
    ['no JSON', 'abc'],
    ['an array', '[]'],
    ['null', 'null'],
    ['a missing field', JSON.stringify({ keyId })],
    ['a field too much', JSON.stringify({ keyId, signature, publisher: 'acme' })],
    ['__proto__', `{"__proto__":{},"keyId":"${keyId}","signature":"${signature}"}`],
    ['a keyId in upper case', JSON.stringify({ keyId: keyId.toUpperCase().replace(/\d/g, 'A'), signature })],
    ['a short signature', JSON.stringify({ keyId, signature: signature.slice(4) })],
    ['base64 for URLs', JSON.stringify({ keyId, signature: `${'-'.repeat(86)}==` })],
    ['base64 without padding', JSON.stringify({ keyId, signature: signature.slice(0, -2) })],
    ['other base64 of the same bytes', JSON.stringify({ keyId, signature: twin })],
    ['more than its bound', ' '.repeat(MAX_SIGNATURE_TEXT_BYTES) + JSON.stringify({ keyId, signature })],
  ])('is refused with %s', (_, text) => {
    const parsed = parseSignature(text);
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) expect(parsed.problem.length).toBeLessThan(300);
  });

  it('never throws, whatever it is', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => parseSignature(text).ok === false));
  });
});

describe('the text of a public key', () => {
  it('is read back as the same key, and no other text of its bytes is', () => {
    fc.assert(
      fc.property(fc.constant(0), () => {
        const { publicKey } = newKeys();
        expect(given(parsePublicKey(publicKey.text))).toMatchObject({ text: publicKey.text, keyId: publicKey.keyId });
        const last = publicKey.text.at(-2) ?? '';
        const twin = `${publicKey.text.slice(0, -2)}${String.fromCharCode(last.charCodeAt(0) + 1)}=`;
        expect(parsePublicKey(twin).ok).toBe(false);
        for (const text of [publicKey.text.slice(8), `${publicKey.text}\n`, ` ${publicKey.text}`]) {
          expect(parsePublicKey(text).ok).toBe(false);
        }
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    ['a placeholder of zeros', '00'.repeat(32)],
    ['the identity', `01${'00'.repeat(31)}`],
    ['the identity with a sign', `01${'00'.repeat(30)}80`],
    ['the point of order two', `ec${'ff'.repeat(30)}7f`],
    ['a point of order eight', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa'],
    ['zero beyond the prime', `ed${'ff'.repeat(30)}7f`],
  ])('is refused for %s, under which signatures need no secret', (_, hex) => {
    const parsed = parsePublicKey(`ed25519:${Buffer.from(hex, 'hex').toString('base64')}`);
    expect(parsed).toMatchObject({ ok: false, problem: expect.stringContaining('nobody') as string });
  });
});

describe('a private key', () => {
  it.each<[string, string, string]>([
    ['no PEM', 'hello', 'no private key'],
    ['a broken PEM', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', 'no private key'],
    [
      'a public key',
      generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      'public key',
    ],
    [
      'a key for something else',
      generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      'x25519',
    ],
    [
      'a locked key',
      generateKeyPairSync('ed25519')
        .privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'p' })
        .toString(),
      'passphrase',
    ],
  ])('is refused when it is %s, and its text is not repeated', (_, pem, word) => {
    const read = readPrivateKey(pem);
    if (read.ok) throw new Error('was taken');
    expect(read.problem).toContain(word);
    for (const line of pem.split('\n').filter((text) => text.length > 20 && !text.startsWith('-'))) {
      expect(read.problem).not.toContain(line);
    }
  });
});
