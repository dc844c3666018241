/** Entry of the part that hashes-part.ts loads. */
import { sha1 as legacy } from '@noble/hashes/legacy.js';
import * as sha2 from '@noble/hashes/sha2.js';

export const sha1 = legacy;
export const { sha256, sha384, sha512 } = sha2;
