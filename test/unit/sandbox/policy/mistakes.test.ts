/** Every mistake an operator can make in a policy names its line and key, and keeps the file from loading. */
import { MAX_WALL_MS } from '@flowops/sandbox/container/shape.ts';
import { MAX_CONTAINER_WALL_MS } from '@flowops/sandbox/policy/default-limits.ts';
import { describe, expect, test } from 'vitest';
import { DIGEST_A, problemsOfText, UUID } from './policy-text.ts';

/** Each file has one mistake, on line 3 unless said otherwise. */
const MISTAKES: readonly [title: string, yaml: string, problem: string | RegExp][] = [
  ['an unknown key at the top', 'version: 1\n\nrule: []', '3: rule: unknown key; did you mean rules?'],
  ['a key unlike any other', 'version: 1\n\nzzzzzzzz: 1', /^3: zzzzzzzz: unknown key; known: version, publishers,/],
  [
    'an unknown key of a rule',
    'version: 1\nrules:\n  - match: { plugin: "a" }\n    teir: container',
    '4: rules[0].teir: unknown key; did you mean tier?',
  ],
  [
    'an unknown limit',
    'version: 1\ndefaults:\n  limits: { memoryMB: 64 }',
    '3: defaults.limits.memoryMB: unknown key; did you mean memoryMb?',
  ],
  [
    'an unknown key of match, next to known ones',
    'version: 1\nrules:\n  - match: { plugin: "a", pluginid: x }\n    tier: container',
    '3: rules[0].match.pluginid: unknown key; did you mean plugin?',
  ],
  ['a version of another release', 'version: 2', '1: version: must be 1'],
  ['no version', 'rules: []', '1: version: is missing'],
  ['a rule without match', 'version: 1\nrules:\n  - tier: container', '3: rules[0].match: is missing'],
  ['rules that are no list', 'version: 1\n\nrules: {}', '3: rules: must be a list'],
  ['rules without a value', 'version: 1\n\nrules:', '3: rules: must be a list, but is empty'],
  [
    'a tier that does not exist',
    'version: 1\ndefaults:\n  tier: docker',
    '3: defaults.tier: must be isolate or container',
  ],
  [
    'too little memory for an isolate',
    'version: 1\ndefaults:\n  limits: { memoryMb: 7 }',
    '3: defaults.limits.memoryMb: must be at least 8: an isolate cannot be made with less',
  ],
  [
    'more memory than the machine has',
    'version: 1\ndefaults:\n  limits: { memoryMb: 5000 }',
    '3: defaults.limits.memoryMb: this machine has 4096 MB and cannot enforce 5000; write 4096 or less',
  ],
  [
    'a wall limit of nothing',
    'version: 1\ndefaults:\n  limits: { wallMs: 0 }',
    /^3: defaults.limits.wallMs: must be at/,
  ],
  [
    'a wall limit beyond every timer',
    'version: 1\ndefaults:\n  limits: { wallMs: 2147483648 }',
    /no timer runs longer/,
  ],
  ['outputs that fit no message', 'version: 1\ndefaults:\n  limits: { outputBytes: 16777216 }', /at most 15728640/],
  ['half a megabyte', 'version: 1\ndefaults:\n  limits: { memoryMb: 64.5 }', /memoryMb: must be a whole number/],
  ['a limit in quotes', 'version: 1\ndefaults:\n  limits: { cpuMs: "5" }', /cpuMs: must be a whole number/],
  ['no step at a time', 'version: 1\ndefaults:\n  concurrent: 0', /^3: defaults.concurrent: must be at least 1/],
  [
    'capital letters in a name',
    'version: 1\nrules:\n  - match: { plugin: "Core.x" }\n    tier: container',
    '3: rules[0].match.plugin: names are lower case and matching is case-sensitive (this can never match)',
  ],
  [
    'a letter that only looks like one of ours',
    'version: 1\nrules:\n  - match: { plugin: "c\u043ere.*" }\n    tier: container',
    /^3: rules\[0\].match.plugin: holds the character U\+043E, .*can never match/,
  ],
  [
    'a name with a space',
    'version: 1\nrules:\n  - match: { plugin: "core hello" }\n    tier: container',
    /^3: rules\[0\].match.plugin: holds the character U\+0020/,
  ],
  [
    'a star in the middle',
    'version: 1\nrules:\n  - match: { plugin: "core.*.http" }\n    tier: container',
    '3: rules[0].match.plugin: * stands for any characters and only at the end',
  ],
  [
    'a version range that holds nothing',
    'version: 1\nrules:\n  - match: { version: ">2 <1" }\n    tier: container',
    '3: rules[0].match.version: no version is within this range (this can never match)',
  ],
  [
    'a version range that YAML reads as a number',
    'version: 1\nrules:\n  - match: { version: 1.0 }\n    tier: container',
    '3: rules[0].match.version: must be text; write it in quotes',
  ],
  [
    'a version range that is none',
    'version: 1\nrules:\n  - match: { version: latest }\n    tier: container',
    /^3: rules\[0\].match.version: must be a semver range/,
  ],
  [
    'a digest cut short',
    'version: 1\nrules:\n  - match: { digest: "sha256:abc" }\n    tier: container',
    '3: rules[0].match.digest: must be sha256: and 64 hex digits',
  ],
  [
    'a denial without a reason',
    'version: 1\nrules:\n  - match: {}\n    deny: true',
    '4: rules[0].deny: must be text that says why',
  ],
  [
    'a denial that gives something',
    `version: 1\nrules:\n  - match: { id: "${UUID}" }\n    deny: "no"\n    tier: isolate`,
    '5: rules[0].tier: a rule that denies gives nothing else; leave this key out',
  ],
  [
    'a minimum that is no version',
    'version: 1\nminVersion:\n  acme.slack: 1.4',
    /^3: minVersion.acme.slack: must be text; write/,
  ],
  [
    'a minimum for a pattern',
    'version: 1\nminVersion:\n  "acme.*": 1.4.0',
    '3: minVersion.acme.*: must be one name, without *',
  ],
  [
    'one id under two names, in other letters',
    `version: 1\nplugins:\n  ${UUID}: core.hello\n  ${UUID.toUpperCase()}: acme.evil`,
    `4: plugins.${UUID.toUpperCase()}: this id is listed as core.hello already, in other letters; keep one of the two`,
  ],
  [
    'a wall limit that no container can be held to',
    'version: 1\nrules:\n  - match: { plugin: a }\n    limits: { wallMs: 86400000 }',
    '4: rules[0].limits.wallMs: a step container lives for a day at most; write 86220000 or less, or tier: isolate',
  ],
  [
    'a wall limit of the defaults that no container can be held to',
    'version: 1\ndefaults:\n  limits: { wallMs: 86400000 }',
    '3: defaults.limits.wallMs: a step container lives for a day at most; write 86220000 or less, or tier: isolate',
  ],
  [
    'a wall limit of the defaults that a rule takes to containers',
    'version: 1\ndefaults:\n  limits: { wallMs: 86400000 }\n  tier: isolate\nrules:\n  - match: { plugin: a }\n    tier: container',
    '3: defaults.limits.wallMs: a step container lives for a day at most; write 86220000 or less, or tier: isolate',
  ],
  [
    'two documents',
    'version: 1\nrules: []\n---\nversion: 1\n',
    /^3: not valid YAML: Source contains multiple documents/,
  ],
  ['a tag that YAML does not know', 'version: 1\n\nrules: !!js/function x\n', /^3: not valid YAML: Unresolved tag/],
  [
    'a merge key',
    'version: 1\ndefaults: &d\n  <<: { tier: isolate }\n',
    '3: defaults.<<: unknown key; known: tier, limits, concurrent',
  ],
  [
    'line ends of Windows',
    'version: 1\r\nrules:\r\n  - match: { plugin: A }\r\n',
    /^3: rules\[0\].match.plugin: names are lower case/,
  ],
  ['an id that is none', 'version: 1\nplugins:\n  "a b": core.hello', /^3: plugins.a b: must be a pluginId/],
  [
    'a key that JavaScript would hide',
    'version: 1\nplugins:\n  __proto__: core.hello',
    '3: plugins.__proto__: a key cannot have this name',
  ],
  ['a key written twice', 'version: 1\nrules: []\nrules: []', /^3: not valid YAML: .*unique/],
  ['YAML that does not end', 'version: 1\nrules: [\n', /not valid YAML/],
  ['nothing at all', '# later\n', '1: the file is empty; a policy begins with version: 1'],
  ['a list instead of keys', '- version: 1', '1: must be keys and values'],
];

describe('a policy with one mistake does not load and says where', () => {
  test.each(MISTAKES)('%s', (_title, yaml, problem) => {
    const found = problemsOfText(yaml).map((line) => line.replace(/^sandbox-policy\.yaml:/, ''));
    expect(found).toHaveLength(1);
    if (typeof problem === 'string') expect(found[0]).toBe(problem);
    else expect(found[0]).toMatch(problem);
  });
});

test('a wall limit longer than a day is for isolates', () => {
  const policy = (rest: string) => problemsOfText(`version: 1\ndefaults: { tier: isolate }\n${rest}`);
  expect(policy('rules:\n  - match: { plugin: a, unsigned: true }\n    limits: { wallMs: 86400000 }\n')).toEqual([]);
  expect(policy('rules:\n  - match: { plugin: a }\n    tier: container\n    limits: { wallMs: 86220000 }\n')).toEqual(
    [],
  );
  expect(MAX_CONTAINER_WALL_MS).toBe(MAX_WALL_MS);
});

test('the mark that some editors put before a text is none of it', () => {
  expect(problemsOfText('\uFEFFversion: 1\n')).toEqual([]);
});

test('an anchor may be used twice, and its problems are told where it is used', () => {
  const yaml = (memory: number) =>
    `version: 1\ndefaults:\n  limits: &small { memoryMb: ${memory} }\nrules:\n  - match: { plugin: a }\n    limits: *small\n`;
  expect(problemsOfText(yaml(64))).toEqual([]);
  expect(problemsOfText(yaml(4)).map((line) => line.split(' ')[1])).toEqual([
    'defaults.limits.memoryMb:',
    'rules[0].limits.memoryMb:',
  ]);
});

test('a small file that unfolds to a huge one is refused', () => {
  const levels = Array.from({ length: 8 }, (_, i) => `  - &l${i + 1} [${Array(9).fill(`*l${i}`).join(', ')}]`);
  const [problem] = problemsOfText(`version: 1\nrules:\n  - &l0 [x]\n${levels.join('\n')}\n`);
  expect(problem).toMatch(/not valid YAML: .*alias/);
});

test('all mistakes are told at once, in the order of their lines', () => {
  const yaml = 'version: 3\nrulez: []\ndefaults:\n  tier: vm\n  limits: { memoryMb: 1, cpuMs: 1 }\n';
  expect(problemsOfText(yaml).map((line) => line.split(': ').slice(0, 2).join(' '))).toEqual([
    'sandbox-policy.yaml:1 version',
    'sandbox-policy.yaml:2 rulez',
    'sandbox-policy.yaml:4 defaults.tier',
    'sandbox-policy.yaml:5 defaults.limits.memoryMb',
    'sandbox-policy.yaml:5 defaults.limits.cpuMs',
  ]);
});

describe('an unsigned name is only a claim', () => {
  const needsProof = [
    ['the isolate tier', '    tier: isolate', 4],
    ['WebAssembly', '    grants: { wasm: true }', 4],
  ] as const;
  test.each(needsProof)('a rule that gives %s to a bare name does not load', (what, line, lineNumber) => {
    const [problem] = problemsOfText(`version: 1\nrules:\n  - match: { plugin: "core.*" }\n${line}`);
    expect(problem).toMatch(
      new RegExp(`^sandbox-policy.yaml:${lineNumber}: .*gives ${what} to a name that anybody can claim`),
    );
  });

  test('a rule that takes the isolate tier from the defaults needs the same proof', () => {
    const [problem] = problemsOfText(
      'version: 1\ndefaults: { tier: isolate }\nrules:\n  - match: { plugin: "core.*" }\n    limits: { wallMs: 100 }',
    );
    expect(problem).toMatch(/^sandbox-policy.yaml:4: rules\[0\].match: gives the isolate tier \(from defaults.tier\)/);
  });

  test.each([
    ['an id', `id: "${UUID}"`],
    ['a digest', `digest: "${DIGEST_A}"`],
    ['unsigned: true', 'unsigned: true'],
  ])('%s is enough', (_what, key) => {
    expect(problemsOfText(`version: 1\nrules:\n  - match: { plugin: "core.*", ${key} }\n    tier: isolate`)).toEqual(
      [],
    );
  });
});

describe('a rule that can never match does not load', () => {
  test.each([
    ['the same match again', '{ plugin: "a.*" }', '{ plugin: "a.*" }'],
    ['a narrower pattern', '{ plugin: "a*" }', '{ plugin: "a.b.*" }'],
    ['one name of a pattern', '{ plugin: "*" }', '{ plugin: "a", version: "^1.0.0" }'],
    ['a narrower range', '{ version: ">=1.0.0" }', '{ version: "^1.2.0" }'],
    ['anything after an empty match', '{}', '{ plugin: a, unsigned: true }'],
  ])('%s', (_title, first, second) => {
    const yaml = `version: 1\nrules:\n  - match: ${first}\n    tier: container\n  - match: ${second}\n    tier: container`;
    expect(problemsOfText(yaml)).toEqual([
      'sandbox-policy.yaml:5: rules[1].match: this rule can never match: rule 1 comes first and matches all that it matches',
    ]);
    const swapped = `version: 1\nrules:\n  - match: ${second}\n    tier: container\n  - match: ${first}\n    tier: container`;
    expect(problemsOfText(swapped)).toHaveLength(first === second ? 1 : 0);
  });

  test('a denial further down counts, since denials are looked at first', () => {
    const yaml =
      'version: 1\nrules:\n  - match: { plugin: "a.b" }\n    tier: container\n  - match: { plugin: "a.*" }\n    deny: "gone"';
    expect(problemsOfText(yaml)).toEqual([
      'sandbox-policy.yaml:3: rules[0].match: this rule can never match: rule 2 denies all that it matches, and denials are looked at before the other rules',
    ]);
  });

  test('a rule for a revoked digest, and one for an id that has another name', () => {
    const yaml = [
      'version: 1',
      `revoked: { digests: ["${DIGEST_A}"] }`,
      `plugins: { ${UUID}: core.hello }`,
      'rules:',
      `  - match: { digest: "${DIGEST_A}" }`,
      '    tier: isolate',
      `  - match: { id: ${UUID}, plugin: "acme.*" }`,
      '    tier: isolate',
    ].join('\n');
    expect(problemsOfText(yaml)).toEqual([
      'sandbox-policy.yaml:5: rules[0].match.digest: this rule can never match: its digest is revoked',
      'sandbox-policy.yaml:7: rules[1].match.plugin: this rule can never match: plugins says that this id is core.hello',
    ]);
  });
});

describe('the tests of a policy are put to it when it loads', () => {
  const withTest = (entry: string) =>
    `version: 1\nrules:\n  - match: { plugin: "core.*", unsigned: true }\n    tier: isolate\n    limits: { memoryMb: 64 }\n  - match: { plugin: "legacy.*" }\n    deny: "retired"\ntests:\n  - ${entry}`;
  test.each([
    '{ plugin: core.http, version: 1.0.0, expect: { tier: isolate, limits: { memoryMb: 64 }, wasm: false, jail: required } }',
    '{ plugin: other, expect: { tier: container, concurrent: 4, net: [] } }',
    '{ plugin: legacy.x, expect: { deny: true } }',
  ])('%s holds', (entry) => {
    expect(problemsOfText(withTest(entry))).toEqual([]);
  });

  test.each([
    [
      '{ plugin: core.http, expect: { tier: container } }',
      '9: tests[0].expect.tier: core.http should get container, but rule 1 (sandbox-policy.yaml:3) gives isolate',
    ],
    [
      '{ plugin: core.http, expect: { limits: { memoryMb: 128 } } }',
      '9: tests[0].expect.limits.memoryMb: core.http should get 128, but rule 1 (sandbox-policy.yaml:3) gives 64',
    ],
    [
      '{ plugin: other, expect: { deny: true } }',
      '9: tests[0].expect.deny: other should be denied, but defaults lets it run',
    ],
    [
      '{ plugin: legacy.x, expect: { deny: true, tier: isolate } }',
      '9: tests[0].expect.tier: a denied plugin gets nothing: leave tier out, or deny',
    ],
    [
      '{ plugin: legacy.x, expect: { deny: false } }',
      '9: tests[0].expect: legacy.x should run, but: legacy.x 1.0.0 is denied by rule 2 (sandbox-policy.yaml:6): retired',
    ],
    [
      '{ plugin: legacy.x, expect: { tier: isolate } }',
      '9: tests[0].expect: legacy.x should run, but: legacy.x 1.0.0 is denied by rule 2 (sandbox-policy.yaml:6): retired',
    ],
  ])('%s fails with its line', (entry, problem) => {
    expect(problemsOfText(withTest(entry))).toEqual([`sandbox-policy.yaml:${problem}`]);
  });
});
