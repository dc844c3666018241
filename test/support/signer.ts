/** A key made for one test, and `.sig` texts made with it. */
import { formatSignature, newPrivateKey, readPrivateKey, signBundle } from '@flowops/proto/bundle-signature.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { readBundleManifest } from '@flowops/proto/manifest.ts';

export interface Signer {
  readonly pem: string;
  /** `ed25519:…`, as a policy names it. */
  readonly key: string;
  readonly keyId: string;
  /** Text of the .sig file; `as` lies about what is signed. */
  sign(bundle: Uint8Array, as?: { name?: string; version?: string; digest?: string }): string;
}

export function newSigner(): Signer {
  const { pem, publicKey } = newPrivateKey();
  const read = readPrivateKey(pem);
  if (!read.ok) throw new Error(read.problem);
  const { privateKey } = read.value;
  return {
    pem,
    key: publicKey.text,
    keyId: publicKey.keyId,
    sign: (bundle, as = {}) => {
      const manifest = readBundleManifest(bundle);
      if (!manifest.ok) throw new Error(manifest.problem);
      const { name, version } = manifest.manifest;
      return formatSignature(signBundle({ digest: digestOf(bundle), name, version, ...as }, privateKey));
    },
  };
}
