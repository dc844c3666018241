/** Rules and tests that name publishers: what can match, what never can, and what is warned of. */
import { describe, expect, test, vi } from 'vitest';
import { DIGEST_A, KEY_A, KEY_B, policyOf, problemsOfText, request, warningsOf } from './policy-text.ts';

const PUBLISHERS = `version: 1
publishers:
  acme: { keys: [{ key: "${KEY_A}" }], names: ["acme.*", "core.http"] }
  other: { keys: [{ key: "${KEY_B}" }], names: ["other.*"] }
`;
const withRules = (...rules: string[]) => `${PUBLISHERS}rules:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`;
const given = (match: string) => `{ match: ${match}, tier: container }`;

describe('a rule that names a publisher', () => {
  test('is for plugins that this publisher signed, and for no others', () => {
    const policy = policyOf(withRules('{ match: { plugin: "acme.*", publisher: acme }, tier: isolate }'));
    const tierFor = (publisher: string | undefined) => {
      const decision = policy.decide(request({ name: 'acme.x', publisher }));
      return decision.kind === 'run' ? decision.tier : decision.code;
    };
    expect([undefined, 'acme', 'other', 'Acme'].map(tierFor)).toEqual([
      'container',
      'isolate',
      'container',
      'container',
    ]);
  });

  test.each([
    ['that nobody is', '{ publisher: acmee }', 'match.publisher', 'publishers has no acmee; did you mean acme?'],
    [
      'under a name that is not its own',
      '{ plugin: "other.*", publisher: acme }',
      'match.plugin',
      'acme publishes only acme.*, core.http',
    ],
    [
      'and wants it unsigned',
      '{ publisher: acme, unsigned: true }',
      'match.unsigned',
      'a plugin with a publisher is not unsigned',
    ],
  ])('%s can never match', (_title, match, key, message) => {
    expect(problemsOfText(withRules(given(match)))).toEqual([
      `sandbox-policy.yaml:6: rules[0].${key}: this rule can never match: ${message}`,
    ]);
  });

  test('under a name that holds some of its own can', () => {
    expect(problemsOfText(withRules(given('{ plugin: "core.*", publisher: acme }')))).toEqual([]);
    expect(problemsOfText(withRules(given('{ plugin: "*", publisher: acme }')))).toEqual([]);
  });

  test('a rule for signed plugins only can never match where there are no publishers', () => {
    const yaml = 'version: 1\nrules:\n  - match: { unsigned: false }\n    tier: container\n';
    expect(problemsOfText(yaml)).toEqual([
      'sandbox-policy.yaml:3: rules[0].match.unsigned: this rule can never match: the policy has no publishers, so every plugin is unsigned',
    ]);
  });
});

describe('a rule is reached only when somebody is left for it', () => {
  test.each([
    [
      'signed and unsigned ones are both taken',
      ['{ unsigned: true }', '{ unsigned: false }', '{ plugin: "acme.*" }'],
      [1, 2],
    ],
    ['every publisher is taken', ['{ publisher: acme }', '{ publisher: other }', '{ unsigned: false }'], [1, 2]],
    [
      'all names of the publisher are taken',
      ['{ plugin: "acme.*", publisher: acme }', '{ plugin: core.http, publisher: acme }', '{ publisher: acme }'],
      [1, 2],
    ],
    ['the publisher has no name but those taken', ['{ plugin: "other.*" }', '{ publisher: other }'], [1]],
  ])('not when %s', (_title, matches, takers) => {
    const [problem, ...others] = problemsOfText(withRules(...matches.map(given)));
    expect(others).toEqual([]);
    const who =
      takers.length === 1 ? 'rule 1 comes first and matches' : `rules ${takers.join(' and ')} come first and match`;
    expect(problem).toBe(
      `sandbox-policy.yaml:${5 + matches.length}: rules[${matches.length - 1}].match: this rule can never match: ${who} all that it matches`,
    );
  });

  test.each([
    ['unsigned ones are left', ['{ unsigned: false }', '{ plugin: "acme.*" }']],
    ['one publisher is left', ['{ publisher: acme }', '{ unsigned: true }', '{ plugin: "*" }']],
    ['one name is left', ['{ plugin: "acme.*", publisher: acme }', '{ publisher: acme }']],
  ])('but when %s', (_title, matches) => {
    expect(problemsOfText(withRules(...matches.map(given)))).toEqual([]);
  });

  test('a denial may be one of those who take all', () => {
    const rules = withRules(
      given('{ plugin: "acme.*" }'),
      given('{ unsigned: true }'),
      '{ match: { unsigned: false }, deny: "no" }',
    );
    expect(problemsOfText(rules)).toEqual([]);
    const last = withRules(
      given('{ unsigned: true }'),
      given('{ plugin: "acme.*" }'),
      '{ match: { unsigned: false }, deny: "no" }',
    );
    expect(problemsOfText(last)).toEqual([
      'sandbox-policy.yaml:7: rules[1].match: this rule can never match: rules 1 and 3 come first (a denial always does) and match all that it matches',
    ]);
  });

  test('not for versions below the least one', () => {
    const yaml = (range: string) =>
      `${PUBLISHERS}minVersion: { acme.x: 1.4.0 }\nrules:\n  - { match: { plugin: acme.x, version: "${range}" }, tier: container }\n`;
    expect(problemsOfText(yaml('<1.4.0'))).toEqual([
      'sandbox-policy.yaml:7: rules[0].match.version: this rule can never match: minVersion allows acme.x only from 1.4.0 on',
    ]);
    expect(problemsOfText(yaml('<=1.4.0'))).toEqual([]);
    expect(problemsOfText(yaml('^1.0.0'))).toEqual([]);
  });
});

describe('a key belongs to one publisher', () => {
  test('also when it is listed for two, or twice', () => {
    const yaml = (owner: string) =>
      `version: 1\npublishers:\n  acme: { keys: [{ key: "${KEY_A}" }], names: ["a"] }\n  ${owner}`;
    expect(problemsOfText(yaml(`other: { keys: [{ key: "${KEY_A}" }], names: ["b"] }`))).toEqual([
      "sandbox-policy.yaml:4: publishers.other.keys[0].key: this key is acme's; a key belongs to one publisher",
    ]);
    expect(problemsOfText(yaml(`other: { keys: [{ key: "${KEY_B}" }, { key: "${KEY_B}" }], names: ["b"] }`))).toEqual([
      'sandbox-policy.yaml:4: publishers.other.keys[1].key: this key is listed twice',
    ]);
  });
});

describe('a publisher that loses its keys', () => {
  test('does not keep a revocation from loading, and it is warned of', () => {
    const revoked = `${withRules(given('{ publisher: acme }'))}revoked: { keys: ["${KEY_A}"] }\n`;
    expect(warningsOf(revoked)).toEqual([
      'sandbox-policy.yaml:3: publishers.acme.keys: every key of acme is revoked: its plugins count as unsigned',
    ]);
  });

  test.each([
    ['2026-01-31', 'no key of acme is valid any more: its plugins count as unsigned'],
    ['2026-02-20', 'the last key of acme ends on 2026-02-20; then its plugins count as unsigned'],
    ['2026-06-01', undefined],
  ])('by time is warned of, some weeks before: %s', (notAfter, message) => {
    vi.useFakeTimers({ now: Date.UTC(2026, 1, 1) });
    try {
      const yaml = `version: 1\npublishers:\n  acme: { keys: [{ key: "${KEY_A}", notAfter: ${notAfter} }], names: ["a"] }\n`;
      const expected = message === undefined ? [] : [`sandbox-policy.yaml:3: publishers.acme.keys: ${message}`];
      expect(warningsOf(yaml)).toEqual(expected);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('freshness: context', () => {
  test.each(['{ unsigned: true }', '{ plugin: a, id: a }', `{ digest: "${DIGEST_A}" }`, '{ unsigned: false }'])(
    'does not load without a publisher: %s',
    (match) => {
      const found = problemsOfText(withRules(`{ match: ${match}, freshness: context }`));
      expect(found.join()).toContain(
        'rules[0].freshness: a kept isolate is no boundary between steps: context needs a publisher',
      );
    },
  );

  test('is given to plugins of the publisher', () => {
    const policy = policyOf(withRules('{ match: { publisher: acme }, tier: isolate, freshness: context }'));
    expect(policy.decide(request({ name: 'acme.x', publisher: 'acme' }))).toMatchObject({ freshness: 'context' });
    expect(policy.decide(request({ name: 'acme.x' }))).toMatchObject({ freshness: 'isolate' });
  });
});

describe('a test of the policy that names a publisher', () => {
  const source = (entry: string) =>
    `${withRules(
      '{ match: { publisher: acme }, tier: isolate, grants: { net: ["b.example:443", "a.example:443"], secrets: [{ name: T, hosts: [] }] }, container: { runtime: runsc } }',
    )}tests:\n  - ${entry}\n`;

  test.each([
    '{ plugin: acme.x, publisher: acme, expect: { tier: isolate, net: ["a.example:443", "b.example:443"], secrets: [T] } }',
    '{ plugin: acme.x, publisher: acme, expect: { container: { runtime: runsc, pids: 256 }, freshness: isolate } }',
    '{ plugin: acme.x, expect: { tier: container, net: [], secrets: [] } }',
  ])('%s holds', (entry) => {
    expect(problemsOfText(source(entry))).toEqual([]);
  });

  test.each([
    [
      '{ plugin: acme.x, publisher: acme, expect: { net: ["a.example:443"] } }',
      'expect.net: acme.x should get [a.example:443], but rule 1 (sandbox-policy.yaml:6) gives [a.example:443, b.example:443]',
    ],
    [
      '{ plugin: acme.x, publisher: acme, expect: { net: [] } }',
      'expect.net: acme.x should get [], but rule 1 (sandbox-policy.yaml:6) gives [a.example:443, b.example:443]',
    ],
    [
      '{ plugin: acme.x, publisher: acme, expect: { secrets: [T, U] } }',
      'expect.secrets: acme.x should get [T, U], but rule 1 (sandbox-policy.yaml:6) gives [T]',
    ],
    [
      '{ plugin: acme.x, publisher: acme, expect: { container: { runtime: runc } } }',
      'expect.container.runtime: acme.x should get runc, but rule 1 (sandbox-policy.yaml:6) gives runsc',
    ],
    ['{ plugin: acme.x, publisher: nobody, expect: {} }', 'publisher: publishers has no nobody'],
    [
      '{ plugin: core.x, publisher: acme, expect: {} }',
      'publisher: acme publishes only acme.*, core.http; under its key core.x counts as unsigned',
    ],
  ])('%s fails', (entry, problem) => {
    expect(problemsOfText(source(entry))).toEqual([`sandbox-policy.yaml:8: tests[0].${problem}`]);
  });
});

test('a rule for a UUID in capitals is warned of, a denial of it is not', () => {
  const id = '0F2F3C1E-9A64-4A35-8A62-51F7D2F4AB01';
  const policy = (line: string) => `version: 1\nrules:\n  - match: { id: ${id} }\n    ${line}\n`;
  expect(warningsOf(policy('tier: isolate'))).toEqual([
    `sandbox-policy.yaml:3: rules[0].match.id: what a rule gives it gives to exactly this spelling, and commands mostly write ${id.toLowerCase()}`,
  ]);
  expect(warningsOf(policy('deny: gone'))).toEqual([]);
});

test('what a rule gives in vain is warned of', () => {
  const yaml = withRules(
    '{ match: { publisher: acme }, tier: container, freshness: context, jail: none, onViolation: { demote: 2 }, limits: { memoryMb: 16 }, container: { tmpfsMb: 16 } }',
  );
  expect(warningsOf(yaml).map((line) => line.replace(/^\S+ /, ''))).toEqual([
    'rules[0].container.tmpfsMb: what is written to /tmp counts towards limits.memoryMb (16): 16 MB cannot be filled',
    'rules[0].freshness: does nothing in the container tier',
    'rules[0].jail: does nothing in the container tier',
    'rules[0].onViolation: does nothing in the container tier',
  ]);
});
