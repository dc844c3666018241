/** Publishers of the doctor: a key made for one run, and signatures made with it. Nothing of it is ever written down. */
import type { KeyObject } from 'node:crypto';
import { formatSignature, newPrivateKey, readPrivateKey, signBundle } from '@flowops/proto/bundle-signature.ts';
import type { HostileBundle } from './bundle-text.ts';

export interface Signer {
  /** `ed25519:…`, as a policy names it. */
  readonly key: string;
  readonly privateKey: KeyObject;
}

export function makeSigner(): Signer {
  const { pem, publicKey } = newPrivateKey();
  const read = readPrivateKey(pem);
  if (!read.ok) throw new Error(read.problem);
  return { key: publicKey.text, privateKey: read.value.privateKey };
}

/** Text of its `.sig` file. */
export function signed({ manifest, digest }: HostileBundle, { privateKey }: Signer): string {
  return formatSignature(signBundle({ digest, name: manifest.name, version: manifest.version }, privateKey));
}
