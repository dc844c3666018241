/**
 * Whose bundle it is (design 5.6): the publisher whose key verifies the signature that came with an attempt, never what
 * a message claims. Deterministic: the time comes in, no I/O.
 *
 * Invariants: (1) revocation, the last day of a key and the publisher's names are looked at each time; only the
 * arithmetic of a signature is remembered, because its answer never changes. (2) Whatever does not verify is unsigned,
 * with a sentence that says why. (3) A keyId only says which key to try.
 */
import {
  type BundleSignature,
  type PublicKey,
  parsePublicKey,
  parseSignature,
  verifyBundle,
} from '@flowops/proto/bundle-signature.ts';
import type { Identity, SignedClaim } from './decision.ts';
import type { KeyPath } from './document.ts';
import { matchesPattern } from './match.ts';
import type { PolicyDocument } from './schema.ts';

/** Versions in use at one time; one that is forgotten costs a seventh of a millisecond. */
const MAX_REMEMBERED = 2_000;
/** Patterns named in a message. */
const MAX_TOLD_NAMES = 5;

interface PublisherKey {
  readonly publisher: string;
  readonly names: readonly string[];
  readonly key: PublicKey;
  /** The last day on which it counts, as written. */
  readonly notAfter: string | undefined;
  /** "publishers.acme (sandbox-policy.yaml:3)". */
  readonly place: string;
}

/** The publishers of a policy, ready to be asked. */
export interface Publishers {
  /** By keyId; two keys may share one, since it is only a part of a hash. */
  readonly keys: ReadonlyMap<string, readonly PublisherKey[]>;
  /** keyId → the place in the file. */
  readonly revoked: ReadonlyMap<string, string>;
}

/** @param at words a place of the document for messages. */
export function compilePublishers(document: PolicyDocument, at: (what: string, path: KeyPath) => string): Publishers {
  const keys = new Map<string, PublisherKey[]>();
  for (const [publisher, { keys: own, names }] of Object.entries(document.publishers ?? {})) {
    for (const { key: text, notAfter } of own) {
      const parsed = parsePublicKey(text);
      if (!parsed.ok) throw new Error(`the schema let the key of ${publisher} through: ${parsed.problem}`);
      const key = parsed.value;
      const place = at(`publishers.${publisher}`, ['publishers', publisher]);
      keys.set(key.keyId, [...(keys.get(key.keyId) ?? []), { publisher, names, key, notAfter, place }]);
    }
  }
  const revoked = (document.revoked?.keys ?? []).map((text, index): [string, string] => {
    const parsed = parsePublicKey(text);
    return [parsed.ok ? parsed.value.keyId : text, at('revoked.keys', ['revoked', 'keys', index])];
  });
  return { keys, revoked: new Map(revoked) };
}

/** The `identify` of one policy. */
export function identifier(publishers: Publishers): (claim: SignedClaim, nowMs: number) => Identity {
  const holds = rememberedVerify();
  return (claim, nowMs) => {
    if (claim.signature === '') return { publisher: undefined, problem: undefined };
    const read = parseSignature(claim.signature);
    if (!read.ok) return unsigned(`its signature ${read.problem}`);
    const { keyId } = read.value;
    const named = publishers.keys.get(keyId) ?? [];
    const revokedBy = publishers.revoked.get(keyId);
    if (revokedBy !== undefined) return unsigned(`its key ${keyId} is revoked by ${revokedBy}`);
    if (named.length === 0) return unsigned(`it is signed with the key ${keyId}, which no publisher of the policy has`);
    const owner = named.find(({ key }) => holds(claim, read.value, key));
    if (owner === undefined) {
      return unsigned(
        `its signature with the key ${keyId} does not hold for ${claim.name} ${claim.version} with these bytes: they ` +
          'were changed after signing, or signed as another version. Sign it again with `flowops plugin sign`',
      );
    }
    return counts(owner, claim, nowMs);
  };
}

/** A key may be used to the end of its last day, UTC. */
export function lastMomentOf(notAfter: string | undefined): number {
  return notAfter === undefined ? Number.POSITIVE_INFINITY : Date.parse(`${notAfter}T23:59:59.999Z`);
}

function counts({ publisher, names, key, notAfter, place }: PublisherKey, claim: SignedClaim, nowMs: number): Identity {
  if (nowMs > lastMomentOf(notAfter)) {
    return unsigned(`its key ${key.keyId} was good until ${notAfter} (${place})`);
  }
  if (!names.some((pattern) => matchesPattern(pattern, claim.name))) {
    const more = names.length > MAX_TOLD_NAMES ? ' and others' : '';
    const own = `${names.slice(0, MAX_TOLD_NAMES).join(', ')}${more}`;
    return unsigned(`it is signed by ${publisher}, whose names are ${own}; ${claim.name} is none of them (${place})`);
  }
  return { publisher, problem: undefined };
}

function unsigned(problem: string): Identity {
  return { publisher: undefined, problem };
}

type Verify = (claim: SignedClaim, signature: BundleSignature, key: PublicKey) => boolean;

/** `verifyBundle`, least recently used answers forgotten first. */
function rememberedVerify(): Verify {
  const answers = new Map<string, boolean>();
  return (claim, signature, key) => {
    const { digest, name, version } = claim;
    // No part can hold a line feed: digest, name and version come from a checked manifest, the others are base64.
    const question = [key.text, signature.signature, digest, name, version].join('\n');
    const known = answers.get(question);
    const answer = known ?? verifyBundle({ digest, name, version }, signature, key);
    answers.delete(question);
    answers.set(question, answer);
    const [oldest] = answers.keys();
    if (answers.size > MAX_REMEMBERED && oldest !== undefined) answers.delete(oldest);
    return answer;
  };
}
