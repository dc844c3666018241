/**
 * Signatures of bundles (design 5.6): ed25519 (RFC 8032) over a short text that names the bundle's digest, its name and
 * its version. Text forms of keys and of `.sig` files, signing and verifying. Pure: no file, no clock, no policy; who a
 * key belongs to and whether it still counts is the policy's to say.
 *
 * Invariants: (1) a key and a signature have exactly one text each: other base64 of the same bytes is refused, so that
 * texts can be compared. (2) A point of small order is no key: signatures under it can be made without a secret.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { z } from 'zod';
import { isDigest } from './ids.ts';
import { parseJson } from './json.ts';

/** A `.sig` file is 140 bytes; somebody's indentation fits too. It travels with every attempt. */
export const MAX_SIGNATURE_TEXT_BYTES = 1024;
export const KEY_PREFIX = 'ed25519:';
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** A private key in PKCS#8 PEM has 119 bytes; more than this is some other file. */
export const MAX_KEY_FILE_BYTES = 16 * 1024;

/** SubjectPublicKeyInfo of an ed25519 key up to its 32 bytes (RFC 8410). */
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');

/** y of every point of small order, its sign bit cleared, the encodings beyond the field's prime included. */
const SMALL_ORDER_Y: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]);

/** A public key that may be trusted with something. */
export interface PublicKey {
  /** `ed25519:` and the base64 of the 32 bytes. */
  readonly text: string;
  /** The first 16 hex digits of the SHA-256 of the 32 bytes: a hint which key to try, never a proof. */
  readonly keyId: string;
  readonly key: KeyObject;
}

/** What a signature speaks about. */
export interface SignedBundle {
  /** `sha256:<64 hex>`. */
  readonly digest: string;
  /** As the bundle's manifest line says. */
  readonly name: string;
  readonly version: string;
}

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

const bundleSignatureSchema = z.strictObject({
  keyId: z.string().regex(/^[0-9a-f]{16}$/, 'must be 16 hex digits in lower case'),
  signature: z
    .string()
    .refine((text) => bytesOf(text, SIGNATURE_BYTES) !== undefined, 'must be the base64 of 64 bytes'),
});

/** The content of a `.sig` file. */
export type BundleSignature = z.output<typeof bundleSignatureSchema>;

/** The exact bytes that are signed. @throws when the digest is none. */
export function signedText({ digest, name, version }: SignedBundle): Uint8Array {
  if (!isDigest(digest)) throw new Error('a digest is sha256: and 64 hex digits');
  return Buffer.from(`flowops-bundle-v1\n${digest.slice('sha256:'.length)}\n${name}\n${version}\n`, 'utf8');
}

export function parsePublicKey(text: string): Parsed<PublicKey> {
  const bytes = text.startsWith(KEY_PREFIX) ? bytesOf(text.slice(KEY_PREFIX.length), KEY_BYTES) : undefined;
  if (bytes === undefined) return { ok: false, problem: 'must be ed25519: and the base64 of the 32 bytes of the key' };
  if (hasSmallOrder(bytes)) {
    return { ok: false, problem: 'is a key that nobody owns: anybody can sign for it' };
  }
  return { ok: true, value: publicKeyOf(bytes) };
}

/** The public half of a private key in PEM (PKCS#8), and the key itself. Never says anything of the key's text. */
export function readPrivateKey(pem: string): Parsed<{ readonly privateKey: KeyObject; readonly publicKey: PublicKey }> {
  if (pem.includes('ENCRYPTED'))
    return { ok: false, problem: 'is locked with a passphrase; signing takes a key without one' };
  if (pem.includes('PUBLIC KEY')) return { ok: false, problem: 'is a public key; signing needs the private one' };
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
  } catch {
    return { ok: false, problem: 'is no private key in PEM; `flowops keys new` makes one' };
  }
  const { asymmetricKeyType } = privateKey;
  if (asymmetricKeyType !== 'ed25519') {
    return { ok: false, problem: `is a key of type ${asymmetricKeyType}; bundles are signed with ed25519` };
  }
  return { ok: true, value: { privateKey, publicKey: publicHalf(privateKey) } };
}

/** A new key: PKCS#8 PEM, to be kept secret, and its public half. */
export function newPrivateKey(): { readonly pem: string; readonly publicKey: PublicKey } {
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { pem, publicKey: publicHalf(privateKey) };
}

export function signBundle(bundle: SignedBundle, privateKey: KeyObject): BundleSignature {
  const { keyId } = publicHalf(privateKey);
  return { keyId, signature: sign(null, signedText(bundle), privateKey).toString('base64') };
}

/** Whether this key signed this bundle. The keyId is not looked at. */
export function verifyBundle(bundle: SignedBundle, { signature }: BundleSignature, { key }: PublicKey): boolean {
  const bytes = bytesOf(signature, SIGNATURE_BYTES);
  return bytes !== undefined && verify(null, signedText(bundle), key, bytes);
}

/** The text of a `.sig` file. */
export function formatSignature({ keyId, signature }: BundleSignature): string {
  return `${JSON.stringify({ keyId, signature })}\n`;
}

/** Reads a `.sig` file. The problem completes "its signature …". */
export function parseSignature(text: string): Parsed<BundleSignature> {
  const length = Buffer.byteLength(text);
  if (length > MAX_SIGNATURE_TEXT_BYTES) {
    return { ok: false, problem: `is too long; a .sig file has at most ${MAX_SIGNATURE_TEXT_BYTES} bytes` };
  }
  const parsed = parseJson(text);
  if (!parsed.ok) return { ok: false, problem: 'is no JSON; a .sig file is {"keyId","signature"}' };
  const checked = bundleSignatureSchema.safeParse(parsed.value);
  if (checked.success) return { ok: true, value: checked.data };
  const problems = checked.error.issues.map(({ path, message }) => [...path, message].join(' '));
  return { ok: false, problem: `is not {"keyId","signature"}: ${problems.join(', ')}` };
}

/** Strict base64 of exactly so many bytes; undefined for any other text. */
function bytesOf(base64: string, length: number): Buffer | undefined {
  if (base64.length !== Math.ceil(length / 3) * 4) return undefined;
  const bytes = Buffer.from(base64, 'base64');
  return bytes.length === length && bytes.toString('base64') === base64 ? bytes : undefined;
}

function hasSmallOrder(bytes: Buffer): boolean {
  const withoutSign = Buffer.from(bytes);
  withoutSign.writeUInt8(withoutSign.readUInt8(KEY_BYTES - 1) & 0x7f, KEY_BYTES - 1);
  return SMALL_ORDER_Y.has(withoutSign.toString('hex'));
}

function publicHalf(privateKey: KeyObject): PublicKey {
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return publicKeyOf(spki.subarray(SPKI_HEAD.length));
}

function publicKeyOf(bytes: Buffer): PublicKey {
  const keyId = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  const key = createPublicKey({ key: Buffer.concat([SPKI_HEAD, bytes]), format: 'der', type: 'spki' });
  return { text: `${KEY_PREFIX}${bytes.toString('base64')}`, keyId, key };
}
