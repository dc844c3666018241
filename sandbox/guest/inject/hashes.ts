/** Hash functions of @noble/hashes. https://www.w3.org/TR/webcrypto/#sha */

type Hash = (bytes: Uint8Array) => Uint8Array;

export type Hashes = Readonly<Record<'sha1' | 'sha256' | 'sha384' | 'sha512', Hash>>;

/** CommonJS form, because only that is evaluated at its first call when esbuild bundles it. */
export const requireHashes = (): Hashes => require('./hashes-module.ts') as Hashes;
