/**
 * crypto.subtle.digest: the hash functions of @noble/hashes, evaluated at their first use. Nothing else of SubtleCrypto
 * is here: keys belong to the services that a plugin calls. https://www.w3.org/TR/webcrypto/#SubtleCrypto-method-digest
 */
import type { DIGEST_ALGORITHMS } from '@flowops/proto/guest-globals.ts';
import { type Hashes, requireHashes } from './hashes.ts';
import { namedError } from './named-error.ts';

type Algorithm = (typeof DIGEST_ALGORITHMS)[number];

const NAMES: Readonly<Record<Algorithm, keyof Hashes>> = {
  'SHA-1': 'sha1',
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
};
let hashes: Hashes | undefined;

/** @param algorithm a name in any case, or an object with that name. */
export async function digest(algorithm: unknown, data: unknown): Promise<ArrayBufferLike> {
  const name = NAMES[readName(algorithm)];
  const bytes = bytesOf(data);
  hashes ??= requireHashes();
  return hashes[name](bytes).slice().buffer;
}

function readName(algorithm: unknown): Algorithm {
  const given: unknown =
    typeof algorithm === 'object' && algorithm !== null ? Reflect.get(algorithm, 'name') : algorithm;
  const name = String(given).toUpperCase();
  if (isAlgorithm(name)) return name;
  const known = Object.keys(NAMES).join(', ');
  throw namedError('NotSupportedError', `crypto.subtle.digest knows ${known}, not ${String(given).slice(0, 100)}`);
}

function isAlgorithm(name: string): name is Algorithm {
  return Object.hasOwn(NAMES, name);
}

function bytesOf(data: unknown): Uint8Array {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (Object.prototype.toString.call(data) === '[object ArrayBuffer]') return new Uint8Array(data as ArrayBuffer);
  throw new TypeError('crypto.subtle.digest takes bytes: an ArrayBuffer, a typed array or a DataView');
}
