/** The shapes of ids and digests, in one place (design 3.1, 3.6). */
import { createHash } from 'node:crypto';
import { z } from 'zod';

const STEP_ID = /^[A-Za-z0-9_-]{1,128}$/;
const RUN_ID = /^[A-Za-z0-9._-]{1,128}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const PLUGIN_NAME = /^[a-z0-9][a-z0-9._-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export const stepIdSchema = z.string().regex(STEP_ID, 'must be 1 to 128 characters of A-Z a-z 0-9 _ -');
export const runIdSchema = z.string().regex(RUN_ID, 'must be 1 to 128 characters of A-Z a-z 0-9 . _ -');
export const pluginIdSchema = z
  .string()
  .refine(isPluginId, 'must be a UUID, or 1 to 128 characters of a-z 0-9 . _ - that begin with a letter or digit');
export const digestSchema = z.string().regex(DIGEST, 'must be sha256: and 64 hex digits');

export function isPluginId(text: string): boolean {
  return UUID.test(text) || PLUGIN_NAME.test(text);
}

export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** `sha256:<64 hex>` of the bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** RFC 9562 UUID version 5 (SHA-1) of `name` in the namespace, lower case. */
export function uuidV5(name: string, namespace: string): string {
  const hash = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name, 'utf8')
    .digest();
  const bytes = hash.subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The namespace of every UUIDv5 of ours (the DNS namespace of RFC 9562; fixed by design 3.6). */
export const UUID_NAMESPACE = '6ba7b812-9dad-11d1-80b4-00c04fd430c8';

/** `PluginMetadata.id` of a version: the same on every machine. */
export function pluginVersionUuid(pluginId: string, version: string): string {
  return uuidV5(`${pluginId}@${version}`, UUID_NAMESPACE);
}

/** The levenshtein-nearest candidate within a third of the word's length (at least 2 edits), for error messages. */
export function nearestName(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Number of single-character insertions, deletions and substitutions between two words. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
