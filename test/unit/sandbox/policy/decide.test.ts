/** What a policy answers about one attempt. */
import { describe, expect, test } from 'vitest';
import { DIGEST_A, DIGEST_B, KEY_A, policyOf, request, UUID } from './policy-text.ts';

const DEFAULT_LIMITS = {
  memoryMb: 128,
  cpuMs: 10_000,
  wallMs: 30_000,
  outputBytes: 1_048_576,
  logBytes: 65_536,
  hostCalls: 1000,
};

describe('rules', () => {
  test('the first rule that matches decides, and a limit it does not name comes from the defaults', () => {
    const policy = policyOf(`version: 1
defaults:
  limits: { wallMs: 5000 }
  concurrent: 2
rules:
  - match: { plugin: "core.hello", unsigned: true }
    tier: isolate
    limits: { memoryMb: 64 }
  - match: { plugin: "core.*", unsigned: true }
    tier: isolate
    jail: none
    concurrent: 9
    grants: { wasm: true }
`);
    expect(policy.decide(request())).toEqual({
      kind: 'run',
      tier: 'isolate',
      limits: { ...DEFAULT_LIMITS, memoryMb: 64, wallMs: 5000 },
      jail: 'required',
      grants: { net: [], secrets: [], wasm: false },
      container: { runtime: 'runc', pids: 64, cpus: 1, tmpfsMb: 16 },
      concurrent: 2,
      freshness: 'isolate',
      rule: 'rule 1 (sandbox-policy.yaml:6)',
      policyHash: policy.policyHash,
      pinsName: true,
    });
    expect(policy.decide(request({ name: 'core.other' }))).toMatchObject({
      limits: { memoryMb: 128 },
      jail: 'none',
      grants: { wasm: true },
      concurrent: 9,
      rule: 'rule 2 (sandbox-policy.yaml:9)',
    });
  });

  test('without a matching rule a plugin gets the defaults: container, nothing granted', () => {
    expect(policyOf('version: 1').decide(request())).toMatchObject({
      kind: 'run',
      tier: 'container',
      limits: DEFAULT_LIMITS,
      jail: 'required',
      grants: { wasm: false },
      concurrent: 4,
      rule: 'defaults',
    });
  });

  test('a denial holds wherever it stands and says its reason and line', () => {
    const policy = policyOf(`version: 1
rules:
  - match: { plugin: "*", unsigned: true }
    tier: isolate
  - match: { plugin: "legacy.*" }
    deny: "retired 2026-01"
`);
    expect(policy.decide(request({ name: 'legacy.mail' }))).toEqual({
      kind: 'refuse',
      code: 'POLICY_DENIED',
      message: 'legacy.mail 1.0.0 is denied by rule 2 (sandbox-policy.yaml:5): retired 2026-01',
    });
    expect(policy.decide(request({ name: 'legacy' }))).toMatchObject({ kind: 'run', tier: 'isolate' });
  });

  test('a denial cannot be dodged by the letter case of a UUID or by a pre-release', () => {
    const policy = policyOf(
      `version: 1\nrules:\n  - match: { id: "${UUID}", version: "<2.0.0" }\n    deny: "flawed"\n  - match: { id: "${UUID}" }\n    tier: isolate`,
    );
    expect(policy.decide(request({ pluginId: UUID.toUpperCase(), version: '1.9.0-rc.1' }))).toMatchObject({
      code: 'POLICY_DENIED',
    });
    expect(policy.decide(request({ pluginId: UUID, version: '2.0.0' }))).toMatchObject({ tier: 'isolate' });
  });

  test.each([
    [
      'a publisher',
      '{ publisher: acme }',
      { publisher: 'acme', name: 'acme.x' },
      { publisher: undefined, name: 'acme.x' },
    ],
    ['a digest', `{ digest: "${DIGEST_A}" }`, { digest: DIGEST_A }, { digest: DIGEST_B }],
    ['whoever signs nothing', '{ unsigned: true }', {}, { publisher: 'acme', name: 'acme.x' }],
    ['whoever signs', '{ unsigned: false }', { publisher: 'acme', name: 'acme.x' }, {}],
    ['versions', '{ plugin: core.hello, version: "1.x" }', { version: '1.9.0' }, { version: '2.0.0' }],
    [
      'all keys together only',
      `{ plugin: core.hello, digest: "${DIGEST_A}" }`,
      { digest: DIGEST_A },
      { digest: DIGEST_A, name: 'core.other' },
    ],
  ])('a denial holds by %s', (_title, match, denied, allowed) => {
    const policy = policyOf(
      `version: 1\npublishers: { acme: { keys: [{ key: "${KEY_A}" }], names: ["acme.*"] } }\nrules:\n  - match: ${match}\n    deny: "no"\n`,
    );
    expect(policy.decide(request(denied))).toMatchObject({ code: 'POLICY_DENIED' });
    expect(policy.decide(request(allowed))).toMatchObject({ kind: 'run' });
  });

  test('an empty match denies everything there is', () => {
    const policy = policyOf('version: 1\nrules:\n  - match: {}\n    deny: "maintenance until 06:00"\n');
    expect(policy.decide(request())).toMatchObject({ message: expect.stringMatching(/maintenance until 06:00$/) });
    expect(policy.decide(request({ publisher: 'acme', name: 'acme.x' }))).toMatchObject({ code: 'POLICY_DENIED' });
  });

  test('what a rule gives to an id it gives to exactly that id', () => {
    const policy = policyOf(`version: 1\nrules:\n  - match: { id: "${UUID}" }\n    tier: isolate`);
    expect(policy.decide(request({ pluginId: UUID }))).toMatchObject({ tier: 'isolate' });
    expect(policy.decide(request({ pluginId: UUID.toUpperCase() }))).toMatchObject({ tier: 'container' });
  });
});

describe('before the rules', () => {
  const ALL_ISOLATE = 'rules:\n  - match: { unsigned: true }\n    tier: isolate';

  test('a revoked digest does not run, under any name', () => {
    const policy = policyOf(`version: 1\nrevoked:\n  digests:\n    - ${DIGEST_A}\n${ALL_ISOLATE}`);
    expect(policy.decide(request({ name: 'anything' }))).toEqual({
      kind: 'refuse',
      code: 'POLICY_DENIED',
      message: `anything 1.0.0 (${DIGEST_A}) is revoked by revoked.digests (sandbox-policy.yaml:4)`,
    });
    expect(policy.decide(request({ digest: DIGEST_B }))).toMatchObject({ kind: 'run' });
  });

  test('a version under the minimum does not run, a pre-release of the minimum neither', () => {
    const policy = policyOf(`version: 1\nminVersion: { core.hello: 1.4.0 }\n${ALL_ISOLATE}`);
    const ask = (version: string) => policy.decide(request({ version })).kind;
    expect(['1.3.9', '1.4.0-rc.1', '1.4.0', '1.10.0', '2.0.0-rc.1'].map(ask)).toEqual([
      'refuse',
      'refuse',
      'run',
      'run',
      'run',
    ]);
  });

  test('an id that was agreed to be one plugin cannot turn into another', () => {
    const policy = policyOf(`version: 1\nplugins:\n  ${UUID}: core.hello\n${ALL_ISOLATE}`);
    expect(policy.decide(request({ pluginId: UUID }))).toMatchObject({ kind: 'run' });
    expect(policy.decide(request({ pluginId: UUID.toUpperCase(), name: 'core.evil' }))).toEqual({
      kind: 'refuse',
      code: 'POLICY_DENIED',
      message:
        `the plugin published as ${UUID.toUpperCase()} calls itself core.evil, but plugins (sandbox-policy.yaml:3) says that it is ` +
        `core.hello. To allow: plugins: { ${UUID.toUpperCase()}: core.evil }`,
    });
  });

  test.each([
    ['capital letters', { name: 'Core.hello' }],
    ['a Cyrillic letter', { name: 'c\u043ere.hello' }],
    ['a space', { name: 'core hello' }],
    ['terminal escapes', { name: 'core\u001b[2J' }],
    ['no version', { version: '' }],
    ['a version with build data', { version: '1.0.0+build' }],
    ['a digest that is none', { digest: 'sha256:A' }],
  ])('a request with %s names no plugin', (_title, changes) => {
    const decision = policyOf(`version: 1\n${ALL_ISOLATE}`).decide(request(changes));
    expect(decision).toMatchObject({ kind: 'refuse', code: 'PLUGIN_INVALID' });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(decision.kind === 'refuse' && decision.message).not.toMatch(/[\u0000-\u001f]|\u043e/);
  });
});

describe('a request only narrows', () => {
  const policy = policyOf(`version: 1
rules:
  - match: { plugin: "core.*", unsigned: true }
    tier: isolate
    limits: { wallMs: 1000 }
`);

  test('a shorter wall limit is taken, a longer one is not, and 0 asks for nothing', () => {
    const wallMs = (requestedWallMs: number) => {
      const decision = policy.decide(request({ requestedWallMs }));
      return decision.kind === 'run' ? decision.limits.wallMs : undefined;
    };
    expect([1, 999.5, 1000, 1001, 0, -5, Number.NaN, Number.POSITIVE_INFINITY].map(wallMs)).toEqual([
      1, 999, 1000, 1000, 1000, 1000, 1000, 1000,
    ]);
  });

  test('the container tier may be asked for where the rule gives isolate', () => {
    expect(policy.decide(request({ requestedTier: 'container' }))).toMatchObject({ tier: 'container' });
    expect(policy.decide(request({ requestedTier: 'isolate' }))).toMatchObject({ tier: 'isolate' });
  });

  test('the isolate tier is refused where the rule gives container, with the rule that would allow it', () => {
    const decision = policy.decide(request({ name: 'acme.slack', requestedTier: 'isolate' }));
    expect(decision).toMatchObject({ kind: 'refuse', code: 'POLICY_DENIED' });
    expect(decision.kind === 'refuse' && decision.message).toContain(
      `To allow: a rule with match: { plugin: "acme.slack", digest: "${DIGEST_A}" } and tier: isolate`,
    );
  });
});

describe('the hash of a policy', () => {
  test('does not change with comments, layout and the order of keys', () => {
    const one = policyOf('version: 1\ndefaults: { tier: container, concurrent: 2 } # a comment');
    const two = policyOf('# another\ndefaults:\n  concurrent: 2\n  tier: container\nversion: 1\n');
    expect(one.policyHash).toBe(two.policyHash);
    expect(one.policyHash).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test('changes with a limit and with the order of rules', () => {
    const rule = (name: string) => `  - match: { plugin: "${name}" }\n    tier: container\n`;
    const hashes = [
      'version: 1',
      'version: 1\ndefaults: { limits: { memoryMb: 64 } }',
      `version: 1\nrules:\n${rule('a')}${rule('b')}`,
      `version: 1\nrules:\n${rule('b')}${rule('a')}`,
    ].map((yaml) => policyOf(yaml).policyHash);
    expect(new Set(hashes).size).toBe(4);
  });
});
