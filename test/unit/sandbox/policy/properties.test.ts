/** Properties of matching and narrowing over policies and requests that nobody thought of. */
import { compilePolicy } from '@flowops/sandbox/policy/compile.ts';
import { decide } from '@flowops/sandbox/policy/decide.ts';
import { covers, matches, matchesPattern } from '@flowops/sandbox/policy/match.ts';
import { checkRules } from '@flowops/sandbox/policy/rules-check.ts';
import { type PolicyDocument, type PolicyMatch, policySchema } from '@flowops/sandbox/policy/schema.ts';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { DIGEST_A, DIGEST_B, KEY_A, KEY_B } from './policy-text.ts';

// Thousands of policies each: seconds of computing, and longer beside others.
vi.setConfig({ testTimeout: 120_000 });

// Few words and few keys at a time, so that matches are frequent.
const name = fc.constantFrom('a', 'ab', 'a.b', 'b');
const pattern = fc.oneof(
  name,
  name.map((text) => `${text}*`),
  fc.constant('*'),
);
const version = fc.constantFrom('1.0.0', '1.2.0', '2.0.0', '2.0.0-rc.1', '0.9.0');
const range = fc.constantFrom('*', '^1.0.0', '>=1.2.0', '1.0.0', '<2.0.0', '>=2.0.0-rc.0');
const digest = fc.constantFrom(DIGEST_A, DIGEST_B);
const publisher = fc.constantFrom('acme', 'other');
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const key = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 1 });
const match: fc.Arbitrary<PolicyMatch> = fc
  .record({
    plugin: key(pattern),
    id: key(name),
    version: key(range),
    digest: key(digest),
    publisher: key(publisher),
    unsigned: key(fc.boolean()),
  })
  .map((keys) => Object.fromEntries(Object.entries(keys).filter(([, value]) => value !== undefined)));
const publishers: NonNullable<PolicyDocument['publishers']> = {
  acme: { keys: [{ key: KEY_A }], names: ['a*'] },
  other: { keys: [{ key: KEY_B }], names: ['b', 'a.b'] },
};
/** As a verified signature would have it: under its key a publisher has its own names and no others. */
const subject = fc
  .record({ pluginId: name, name, version, digest, publisher: optional(publisher) })
  .map(({ publisher: owner, ...fields }) => ({
    ...fields,
    publisher: publishers[owner ?? '']?.names.some((own) => matchesPattern(own, fields.name)) ? owner : undefined,
  }));
const limits = fc.record(
  { memoryMb: fc.integer({ min: 8, max: 512 }), wallMs: fc.integer({ min: 10, max: 10_000 }) },
  { requiredKeys: [] },
);
const tier = fc.constantFrom('isolate' as const, 'container' as const);
const host = fc.constantFrom('a.example:443', 'private:a.example:443', 'b.example:443');
const secret = fc.constantFrom('T', 'U');
const grants = fc.record({
  wasm: fc.boolean(),
  net: fc.uniqueArray(host),
  secrets: fc.uniqueArray(fc.record({ name: secret, hosts: fc.uniqueArray(host) }), { selector: (one) => one.name }),
});
const rule = fc.oneof(
  fc.record({ match, deny: fc.constant('no') }),
  fc.record({ match, tier, limits, grants, onViolation: fc.record({ demote: fc.constant(3) }) }),
);
const policy: fc.Arbitrary<PolicyDocument> = fc.record({
  version: fc.constant(1 as const),
  publishers: fc.constant(publishers),
  defaults: fc.record({ tier, limits }),
  rules: fc.array(rule, { maxLength: 6 }),
});
const compiled = policy.map((document) => compilePolicy(document, { file: undefined, lineOf: () => 0 }));
const nothing = { net: [], secrets: [] };
const request = subject.map((fields) => ({ ...fields, permissions: nothing }));
const permissions = fc.record({ net: fc.uniqueArray(host), secrets: fc.uniqueArray(secret) });
const demoted = { demotion: { violations: 3, code: 'LIMIT_CPU', since: '2026-01-01T00:00:00.000Z' } } as const;

test('a pattern matches exactly what its regular expression matches', () => {
  fc.assert(
    fc.property(pattern, name, (glob, text) => {
      const expression = new RegExp(`^${glob.replaceAll('.', '\\.').replace(/\*$/, '.*')}$`);
      expect(matchesPattern(glob, text)).toBe(expression.test(text));
    }),
  );
});

test('a match never takes a letter for another that looks like it, in any case', () => {
  fc.assert(
    fc.property(name, (text) => {
      expect(matchesPattern(text, text.replace('a', '\u0430'))).toBe(!text.includes('a'));
      expect(matchesPattern(text, text.toUpperCase())).toBe(text === text.toUpperCase());
    }),
  );
});

test('adding a key to a match never makes it match more', () => {
  fc.assert(
    fc.property(match, match, many(subject), (base, more, plugins) => {
      for (const plugin of plugins.filter((one) => !matches(base, one, 'grant'))) {
        expect(matches({ ...more, ...base }, plugin, 'grant')).toBe(false);
      }
    }),
  );
});

const few = <T>(arbitrary: fc.Arbitrary<T>) => fc.array(arbitrary, { minLength: 8, maxLength: 8 });
const many = <T>(arbitrary: fc.Arbitrary<T>) => fc.array(arbitrary, { minLength: 20, maxLength: 20 });

test('a denial matches everything that a grant with the same match would', () => {
  fc.assert(
    fc.property(match, many(subject), (keys, plugins) => {
      for (const plugin of plugins.filter((one) => matches(keys, one, 'grant'))) {
        expect(matches(keys, plugin, 'denial')).toBe(true);
      }
    }),
  );
});

test('what a covered match matches, the covering one matches too', () => {
  const seen = { covered: 0, matched: 0 };
  fc.assert(
    fc.property(few(match), many(subject), fc.constantFrom('grant', 'denial'), (all, plugins, reading) => {
      for (const outer of all) {
        for (const inner of all) {
          if (outer === inner || !covers(outer, inner, reading)) continue;
          seen.covered++;
          for (const plugin of plugins.filter((one) => matches(inner, one, 'grant'))) {
            seen.matched++;
            expect(matches(outer, plugin, reading)).toBe(true);
          }
        }
      }
    }),
  );
  expect(seen.matched).toBeGreaterThan(100); // the property was really put to the test
});

test('a rule that is reported unreachable decides nothing, whatever is asked', () => {
  fc.assert(
    fc.property(policy, fc.array(request, { minLength: 1, maxLength: 20 }), (document, requests) => {
      const rules = document.rules ?? [];
      const unreachable = checkRules(document)
        .filter(({ message }) => message.includes('can never match'))
        .map(({ path }) => `rule ${Number(path[1]) + 1}`);
      fc.pre(unreachable.length > 0 && rules.length > 1);
      const { denials, rules: giving, ...rest } = compilePolicy(document, { file: undefined, lineOf: () => 0 });
      for (const one of requests) {
        const decision = decide({ denials, rules: giving, ...rest }, one);
        if (decision.kind === 'run') expect(unreachable).not.toContain(decision.rule);
        const without = {
          ...rest,
          denials: denials.filter(({ place }) => !unreachable.includes(place)),
          rules: giving.filter(({ terms }) => !unreachable.includes(terms.place)),
        };
        expect(decide(without, one).kind).toBe(decision.kind);
      }
    }),
    { numRuns: 500 },
  );
});

test('a request never widens: not the tier, no limit, no grant, nor a refusal into a run', () => {
  fc.assert(
    fc.property(
      compiled,
      request,
      optional(tier),
      optional(fc.oneof(fc.integer({ min: -10, max: 20_000 }), fc.double())),
      (given, plain, requestedTier, requestedWallMs) => {
        const without = decide(given, plain);
        const asked = decide(given, {
          ...plain,
          ...(requestedTier === undefined ? {} : { requestedTier }),
          ...(requestedWallMs === undefined ? {} : { requestedWallMs }),
        });
        if (asked.kind === 'refuse') return;
        if (without.kind === 'refuse') expect.fail('a request turned a refusal into a run');
        const { tier: tierAsked, limits: limitsAsked, onViolation: countedAsked, ...restAsked } = asked;
        const { tier: tierGiven, limits: limitsGiven, onViolation: countedGiven, ...restGiven } = without;
        expect(countedAsked?.demoteAfter).toBe(countedGiven?.demoteAfter);
        if (countedAsked !== undefined) expect(countedAsked.countsWall).toBe(limitsAsked.wallMs === limitsGiven.wallMs);
        expect(tierGiven === 'container' && tierAsked === 'isolate').toBe(false);
        expect(limitsAsked.wallMs).toBeLessThanOrEqual(limitsGiven.wallMs);
        expect(limitsAsked.wallMs).toBeGreaterThan(0);
        expect({ ...limitsAsked, wallMs: 0 }).toEqual({ ...limitsGiven, wallMs: 0 });
        expect(restAsked).toEqual(restGiven);
      },
    ),
    { numRuns: 1000 },
  );
});

test('the first rule that matches wins: rules after it change nothing', () => {
  fc.assert(
    fc.property(policy, request, (document, one) => {
      const rules = document.rules ?? [];
      const first = rules.findIndex((candidate) => !('deny' in candidate) && matches(candidate.match, one, 'grant'));
      const isDenied = rules.some(
        (candidate) => candidate.deny !== undefined && matches(candidate.match, one, 'denial'),
      );
      const decision = decide(compilePolicy(document, { file: undefined, lineOf: () => 0 }), one);
      if (isDenied) expect(decision.kind).toBe('refuse');
      else expect(decision).toMatchObject({ kind: 'run', rule: first < 0 ? 'defaults' : `rule ${first + 1}` });
    }),
    { numRuns: 1000 },
  );
});

test('a plugin is granted what it asks for and its rule gives, or it does not start', () => {
  const seen = { granted: 0, refused: 0 };
  fc.assert(
    fc.property(policy, request, permissions, (document, plain, asked) => {
      const given = compilePolicy(document, { file: undefined, lineOf: () => 0 });
      const decision = decide(given, { ...plain, permissions: asked });
      const rules = (document.rules ?? []).filter((one) => one.deny === undefined);
      const own = rules.find((one) => matches(one.match, plain, 'grant'))?.grants ?? {};
      const isGiven =
        asked.net.every((one) => own.net?.includes(one)) &&
        asked.secrets.every((one) => own.secrets?.some((entry) => entry.name === one));
      if (decide(given, plain).kind === 'refuse') expect(decision.kind).toBe('refuse');
      else expect(decision.kind).toBe(isGiven ? 'run' : 'refuse');
      if (decision.kind === 'refuse') {
        seen.refused++;
        return;
      }
      seen.granted += asked.net.length;
      expect(decision.grants.net).toEqual(asked.net);
      expect(decision.grants.secrets.map((one) => one.name).sort()).toEqual([...asked.secrets].sort());
      for (const one of decision.grants.secrets) expect(own.secrets).toContainEqual(one);
    }),
    { numRuns: 1000 },
  );
  expect(Math.min(seen.granted, seen.refused)).toBeGreaterThan(20);
});

test('a rule for signed plugins never gives anything to an unsigned one', () => {
  fc.assert(
    fc.property(policy, request, (document, plain) => {
      const unsigned = { ...plain, publisher: undefined };
      const decision = decide(compilePolicy(document, { file: undefined, lineOf: () => 0 }), unsigned);
      const number = decision.kind === 'run' ? /^rule (\d+)/.exec(decision.rule)?.[1] : undefined;
      const used = document.rules?.[Number(number) - 1];
      if (used === undefined) return;
      expect(used.match.publisher).toBeUndefined();
      expect(used.match.unsigned).not.toBe(false);
    }),
    { numRuns: 1000 },
  );
});

test('what a host remembers of a plugin only narrows: a demoted one is in a container, and has no more than before', () => {
  fc.assert(
    fc.property(compiled, request, (given, plain) => {
      const before = decide(given, plain);
      const after = decide(given, { ...plain, history: demoted });
      if (before.kind === 'refuse') expect(after).toEqual(before);
      else expect(after).toEqual({ ...before, tier: 'container', rule: after.kind === 'run' ? after.rule : '' });
      const renamed = decide(given, { ...plain, history: { agreedName: `${plain.name}x` } });
      expect(renamed.kind).toBe('refuse');
    }),
    { numRuns: 500 },
  );
});

test('every policy that these properties make up is one that the schema allows', () => {
  fc.assert(fc.property(policy, (document) => policySchema.safeParse(document).success));
});
