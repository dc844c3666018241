import { digestOf } from '@flowops/proto/ids.ts';
import type { Identity, Policy } from '@flowops/sandbox/policy/decision.ts';
import { parsePolicy } from '@flowops/sandbox/policy/load.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bundleBytes } from '../../../support/bundle-bytes.ts';
import { newSigner, type Signer } from '../../../support/signer.ts';

const [ACME, NEXT, OTHER] = [newSigner(), newSigner(), newSigner()];
const BUNDLE = bundleBytes({ name: 'acme.hello', version: '1.2.0' });
const CLAIM = { name: 'acme.hello', version: '1.2.0', digest: digestOf(BUNDLE) };
const NOW = Date.parse('2026-11-23T12:00:00Z');

const publishers = (keys: string) => `publishers: { acme: { keys: [${keys}], names: ["acme.*", core.http] } }`;
const keyLine = ({ key }: Signer, notAfter?: string) =>
  `{ key: "${key}"${notAfter === undefined ? '' : `, notAfter: ${notAfter}`} }`;

function policyOf(...lines: string[]): Policy {
  const loaded = parsePolicy('p.yaml', ['version: 1', ...lines].join('\n'));
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.policy;
}

const unsigned = (word: string): Identity => ({
  publisher: undefined,
  problem: expect.stringContaining(word) as string,
});

describe('who a bundle is from', () => {
  const policy = policyOf(publishers(`${keyLine(NEXT)}, ${keyLine(ACME, '2026-12-31')}`));

  it('is the publisher whose key verifies, whichever of his keys it is', () => {
    for (const signer of [ACME, NEXT]) {
      const identity = policy.identify({ ...CLAIM, signature: signer.sign(BUNDLE) }, NOW);
      expect(identity).toEqual({ publisher: 'acme', problem: undefined });
    }
  });

  it('is nobody without a signature, and nothing is wrong with that', () => {
    expect(policy.identify({ ...CLAIM, signature: '' }, NOW)).toEqual({ publisher: undefined, problem: undefined });
  });

  it.each<[string, string, string]>([
    ['junk', 'hello', 'no JSON'],
    ['a megabyte', 'x'.repeat(1 << 20), '1024'],
    ['a key of nobody', OTHER.sign(BUNDLE), OTHER.keyId],
    ['a key of nobody under the keyId of acme', OTHER.sign(BUNDLE).replace(OTHER.keyId, ACME.keyId), 'does not hold'],
    ['another digest', ACME.sign(BUNDLE, { digest: digestOf(Buffer.from('x')) }), 'does not hold'],
    ['another name', ACME.sign(BUNDLE, { name: 'acme.other' }), 'does not hold'],
    ['another version', ACME.sign(BUNDLE, { version: '1.2.1' }), 'does not hold'],
  ])('is nobody with the signature of %s', (_, signature, word) => {
    expect(policy.identify({ ...CLAIM, signature }, NOW)).toEqual(unsigned(word));
  });

  it('is asked of the keys each time: an answer that verified once is no answer for another key, name or digest', () => {
    const signature = ACME.sign(BUNDLE);
    expect(policy.identify({ ...CLAIM, signature }, NOW).publisher).toBe('acme');
    for (const change of [{ name: 'acme.hell' }, { version: '1.2.00' }, { digest: digestOf(Buffer.from('x')) }]) {
      expect(policy.identify({ ...CLAIM, ...change, signature }, NOW).publisher).toBeUndefined();
    }
  });

  it('stays the same for the same claim, whatever was asked before', () => {
    const claims = [ACME, NEXT, OTHER].flatMap((signer) =>
      [CLAIM, { ...CLAIM, version: '9.9.9' }].map((claim) => ({ ...claim, signature: signer.sign(BUNDLE) })),
    );
    const fresh = (claim: (typeof claims)[number]) =>
      policyOf(publishers(`${keyLine(NEXT)}, ${keyLine(ACME, '2026-12-31')}`)).identify(claim, NOW);
    const expected = claims.map(fresh);
    fc.assert(
      fc.property(fc.array(fc.nat(claims.length - 1), { maxLength: 50 }), (order) => {
        for (const at of order) {
          const claim = claims[at];
          if (claim !== undefined) expect(policy.identify(claim, NOW)).toEqual(expected[at]);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('a key', () => {
  const signature = ACME.sign(BUNDLE);

  it('counts through the end of its last day, UTC, and not a moment longer', () => {
    const policy = policyOf(publishers(keyLine(ACME, '2026-12-31')));
    const at = (time: string) => policy.identify({ ...CLAIM, signature }, Date.parse(time));
    expect(at('2026-12-31T23:59:59.999Z').publisher).toBe('acme');
    expect(at('2027-01-01T00:00:00.000Z')).toEqual(unsigned('2026-12-31'));
    expect(at('2026-12-31T23:59:59.999Z').publisher).toBe('acme');
  });

  it.each([
    ['its text', ACME.key],
    ['its keyId', ACME.keyId],
  ])('that is revoked by %s counts no more, listed or not', (_, text) => {
    for (const keys of [`${keyLine(ACME)}, ${keyLine(NEXT)}`, keyLine(NEXT)]) {
      const policy = policyOf(publishers(keys), `revoked: { keys: ["${text}"] }`);
      expect(policy.identify({ ...CLAIM, signature }, NOW)).toEqual(unsigned('revoked.keys (p.yaml:3)'));
      expect(policy.identify({ ...CLAIM, signature: NEXT.sign(BUNDLE) }, NOW).publisher).toBe('acme');
    }
  });

  it('signs only for the names of its publisher', () => {
    const policy = policyOf(publishers(keyLine(ACME)));
    for (const [name, publisher] of [
      ['core.http', 'acme'],
      ['core.http2', undefined],
      ['acme', undefined],
      ['acme.x', 'acme'],
    ] as const) {
      const bundle = bundleBytes({ name });
      const claim = { name, version: '1.0.0', digest: digestOf(bundle), signature: ACME.sign(bundle) };
      const identity = policy.identify(claim, NOW);
      expect(identity.publisher, name).toBe(publisher);
      if (publisher === undefined) expect(identity).toEqual(unsigned('acme.*, core.http'));
    }
  });

  it('under two publishers, or twice, is a policy that does not load', () => {
    const text = `version: 1\npublishers:\n  a: { keys: [${keyLine(ACME)}], names: [a.*] }\n  b: { keys: [${keyLine(ACME)}], names: [b.*] }\n`;
    const loaded = parsePolicy('p.yaml', text);
    expect(loaded).toMatchObject({ ok: false, problems: [{ line: 4 }] });
  });

  it.each([
    ['a placeholder that anybody can sign for', `ed25519:${Buffer.alloc(32).toString('base64')}`],
    ['other base64 of the same bytes', `${ACME.key.slice(0, -2)}${String.fromCharCode(ACME.key.charCodeAt(50) + 1)}=`],
  ])('that is %s does not load, listed or revoked', (_, key) => {
    expect(parsePolicy('p.yaml', `version: 1\n${publishers(`{ key: "${key}" }`)}\n`).ok).toBe(false);
    expect(parsePolicy('p.yaml', `version: 1\nrevoked: { keys: ["${key}"] }\n`).ok).toBe(false);
  });
});
