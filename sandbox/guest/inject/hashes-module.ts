/** Entry of the part that hashes-part.ts loads. */
export { sha1 } from '@noble/hashes/legacy.js';
export { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
