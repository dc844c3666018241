/** What a manifest asks for against what a rule gives: exactly that, or no start at all (hostile case 45). */
import { developerPolicy } from '@flowops/sandbox/policy/built-in.ts';
import { toPolicy } from '@flowops/sandbox/policy/compile.ts';
import { describe, expect, test } from 'vitest';
import { DIGEST_A, KEY_A, policyOf, problemsOfText, request, warningsOf } from './policy-text.ts';

const POLICY = `version: 1
publishers: { acme: { keys: [{ key: "${KEY_A}" }], names: ["acme.*"] } }
rules:
  - match: { plugin: "acme.slack", publisher: acme }
    tier: isolate
    grants:
      net: ["api.example.com:443", "private:db.internal:5432"]
      secrets: [{ name: API_TOKEN, hosts: ["api.example.com:443"] }]
  - match: { plugin: "acme.*", publisher: acme }
    tier: isolate
`;

function ask(permissions: { net?: string[]; secrets?: string[] }, name = 'acme.slack') {
  const { net = [], secrets = [] } = permissions;
  return policyOf(POLICY).decide(request({ name, publisher: 'acme', permissions: { net, secrets } }));
}

describe('what is asked for and given', () => {
  test('is granted, and nothing of the rule that was not asked for', () => {
    expect(ask({ net: ['api.example.com:443'] })).toMatchObject({
      grants: { net: ['api.example.com:443'], secrets: [], wasm: false },
    });
    expect(ask({ secrets: ['API_TOKEN'] })).toMatchObject({
      grants: { net: [], secrets: [{ name: 'API_TOKEN', hosts: ['api.example.com:443'] }] },
    });
    expect(ask({})).toMatchObject({ grants: { net: [], secrets: [] } });
  });

  test('is granted once however often it is asked for', () => {
    const twice = ask({ net: ['api.example.com:443', 'api.example.com:443'], secrets: ['API_TOKEN', 'API_TOKEN'] });
    expect(twice).toMatchObject({ grants: { net: ['api.example.com:443'], secrets: [{ name: 'API_TOKEN' }] } });
  });
});

describe('a plugin that asks for more than its rule gives does not start', () => {
  test('and the refusal names the rule and the line to add', () => {
    expect(ask({ net: ['slack.com:443'] }, 'acme.other')).toEqual({
      kind: 'refuse',
      code: 'POLICY_DENIED',
      message:
        'acme.other asked for slack.com:443; rule 2 (sandbox-policy.yaml:9) grants no network. ' +
        'To allow: grants: { net: ["slack.com:443"] }',
    });
  });

  test('and the line to add keeps what the rule gives already', () => {
    expect(ask({ net: ['api.example.com:443', 'slack.com:443'], secrets: ['OTHER'] })).toMatchObject({
      message:
        'acme.slack asked for slack.com:443 and the secret OTHER; rule 1 (sandbox-policy.yaml:4) grants only ' +
        'api.example.com:443, private:db.internal:5432 and only the secret API_TOKEN. To allow: grants: ' +
        '{ net: ["api.example.com:443", "private:db.internal:5432", "slack.com:443"], secrets: ' +
        '[{ name: API_TOKEN, hosts: ["api.example.com:443"] }, { name: OTHER, hosts: ["api.example.com:443", "slack.com:443"] }] }',
    });
  });

  test('and the line to add, added, lets it start', () => {
    const decision = ask({ net: ['slack.com:443'], secrets: ['true', 'TOKEN'] }, 'acme.other');
    const line = decision.kind === 'refuse' ? decision.message.split('To allow: ')[1] : undefined;
    const mended = policyOf(`${POLICY}    ${line}\n`);
    const permissions = { net: ['slack.com:443'], secrets: ['true', 'TOKEN'] };
    expect(mended.decide(request({ name: 'acme.other', publisher: 'acme', permissions }))).toMatchObject({
      kind: 'run',
      grants: { net: ['slack.com:443'], secrets: [{ name: 'true' }, { name: 'TOKEN' }] },
    });
  });

  test.each([
    ['the same host in the private range', 'private:api.example.com:443'],
    ['the private host without saying so', 'db.internal:5432'],
    ['another port', 'api.example.com:8443'],
    ['a host below it', 'x.api.example.com:443'],
    ['a host that only begins like it', 'api.example.com.evil.org:443'],
  ])('also for %s', (_title, net) => {
    expect(ask({ net: [net] })).toMatchObject({ kind: 'refuse', code: 'POLICY_DENIED' });
  });

  test.each([
    'API.example.com:443',
    'api.example.com',
    'api.example.com.:443',
    'https://a:443',
    '*:443',
    'a:0',
    'a:65536',
  ])('nor one that asks for %s, which no rule can give', (net) => {
    expect(ask({ net: [net] })).toMatchObject({ code: 'PLUGIN_INVALID', message: expect.stringContaining(net) });
  });

  test('nor one that asks for a secret of an odd name, which is shown escaped', () => {
    expect(ask({ secrets: ['API\u001b_TOKEN'] })).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining('asks for the secret "API\\u001b_TOKEN": a name is'),
    });
  });

  test('and where no rule matches, the refusal says which rule would do', () => {
    const asked = request({ permissions: { net: ['a.example:443'], secrets: [] } });
    expect(policyOf('version: 1').decide(asked)).toMatchObject({
      message:
        'core.hello asked for a.example:443; defaults grants no network. To allow: a rule with match: ' +
        `{ plugin: "core.hello", digest: "${DIGEST_A}" } and grants: { net: ["a.example:443"] }`,
    });
  });

  test('and a place that only a private grant opens is proposed as one, in the manifest too', () => {
    expect(ask({ net: ['10.0.0.5:5432', 'redis:6379'] }, 'acme.other')).toMatchObject({
      message:
        'acme.other asked for 10.0.0.5:5432 (a private address), redis:6379 (a name of this machine or its own network); ' +
        'rule 2 (sandbox-policy.yaml:9) grants no network. To allow: grants: { net: ["private:10.0.0.5:5432", ' +
        '"private:redis:6379"] }, and in the plugin: permissions: { net: ["private:10.0.0.5:5432", "private:redis:6379"] }',
    });
    expect(ask({ net: ['private:10.0.0.5:5432'] }, 'acme.other')).toMatchObject({
      message: expect.stringMatching(
        /asked for private:10.0.0.5:5432 \(a private address\); .* To allow: grants: { net: \["private:10.0.0.5:5432"\] }$/,
      ),
    });
  });

  test.each(['169.254.169.254:80', 'private:169.254.169.254:80', 'private:metadata.google.internal:80'])(
    'and %s comes with a warning before the line to add',
    (net) => {
      expect(ask({ net: [net] }, 'acme.other')).toMatchObject({
        message: expect.stringMatching(
          /^acme.other asked for \S+ \(where a cloud gives the credentials of this machine to whoever asks\); .* grants no network\. A plugin that reaches it can act as this machine: allow it only to one of your own\. To allow: grants: { net: \["private:/,
        ),
      });
    },
  );

  test('and a manifest that asks for very much makes no endless message', () => {
    const net = Array.from({ length: 100 }, (_, i) => `${'x'.repeat(200)}.host-${i}.example:443`);
    const decision = ask({ net });
    expect(decision.kind === 'refuse' && decision.message.length).toBeLessThan(2000);
    expect(decision).toMatchObject({
      message: expect.stringMatching(/ and 97 more; .* To allow: grants with all that it asks for$/),
    });
  });
});

test('the developer policy grants what the manifest asks for, and a secret may go where the plugin may', () => {
  const permissions = { net: ['a.example:443'], secrets: ['TOKEN'] };
  expect(toPolicy(developerPolicy()).decide(request({ permissions }))).toMatchObject({
    grants: { net: ['a.example:443'], secrets: [{ name: 'TOKEN', hosts: ['a.example:443'] }] },
  });
  const odd = { net: ['A.example:443'], secrets: [] };
  expect(toPolicy(developerPolicy()).decide(request({ permissions: odd }))).toMatchObject({ code: 'PLUGIN_INVALID' });
});

describe('in the file', () => {
  const rule = (grants: string) =>
    `version: 1\nrules:\n  - match: { plugin: a, unsigned: true }\n    tier: isolate\n    grants: ${grants}\n`;

  test.each([
    [
      'a port beyond all ports',
      '{ net: ["a.example:65536"] }',
      /5: rules\[0\].grants.net\[0\]: must have a port of 1 to 65535/,
    ],
    ['a host in capitals', '{ net: ["A.example:443"] }', /the host in lower case/],
    ['a whole URL', '{ net: ["https://a.example"] }', /must be host:port/],
    [
      'a secret twice',
      '{ secrets: [{ name: T, hosts: [] }, { name: T, hosts: [] }] }',
      /secrets\[1\].name: T is listed twice/,
    ],
    ['a secret without hosts', '{ secrets: [{ name: T }] }', /secrets\[0\].hosts: is missing/],
  ])('%s is a mistake', (_title, grants, problem) => {
    const found = problemsOfText(rule(grants));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(problem);
  });

  test('a secret that may go to a host which the rule does not open is warned of', () => {
    const grants = '{ net: ["a.example:443"], secrets: [{ name: T, hosts: ["a.example:443", "b.example:443"] }] }';
    expect(warningsOf(rule(grants))).toEqual([
      'sandbox-policy.yaml:5: rules[0].grants.secrets[0].hosts: T may go to b.example:443, which grants.net of this rule does not hold: it will never get there',
    ]);
  });

  test('a secret may be meant for a private place with and without saying so again', () => {
    const grants = '{ net: ["private:a.example:443"], secrets: [{ name: T, hosts: ["a.example:443"] }] }';
    expect(warningsOf(rule(grants))).toEqual([]);
    const other = '{ net: ["a.example:443"], secrets: [{ name: T, hosts: ["private:a.example:443"] }] }';
    expect(warningsOf(rule(other))).toEqual([]);
  });

  test.each([
    ['10.0.0.5:5432', '10.0.0.5 is a private address: only private:10.0.0.5:5432 opens it'],
    [
      'localhost:80',
      'localhost is a name of this machine or its own network: most likely only private:localhost:80 opens it',
    ],
    [
      '169.254.169.254:80',
      '169.254.169.254 is where a cloud gives the credentials of this machine to whoever asks: only private:169.254.169.254:80 opens it',
    ],
    [
      'private:169.254.169.254:80',
      'opens the place where a cloud gives the credentials of this machine to whoever asks: the plugin can act as this machine',
    ],
    ['private:metadata.google.internal:80', 'no grant of this name opens it, only one of the address it leads to'],
  ])('net: %s is warned of', (net, words) => {
    expect(warningsOf(rule(`{ net: ["a.example:443", "${net}"] }`))).toEqual([
      `sandbox-policy.yaml:5: rules[0].grants.net[1]: ${words}`,
    ]);
  });

  test('net: a private address or name that says private is not warned of', () => {
    expect(warningsOf(rule('{ net: ["private:10.0.0.5:5432", "private:redis:6379", "1.1.1.1:53"] }'))).toEqual([]);
  });

  test('network and secrets need more than a name that anybody can claim', () => {
    const bare = (grants: string) =>
      problemsOfText(`version: 1\nrules:\n  - match: { plugin: a }\n    grants: ${grants}\n`);
    expect(bare('{ net: ["a.example:443"] }')[0]).toMatch(
      /4: rules\[0\].grants.net: gives network to a name that anybody can claim/,
    );
    expect(bare('{ secrets: [{ name: T, hosts: [] }] }')[0]).toMatch(
      /rules\[0\].grants.secrets: gives secrets to a name/,
    );
  });
});
