import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { denyAddress, denyNet, denySecret, denySecretPlace } from '../../../../sandbox/host-calls/denials.ts';

const slack = {
  pluginName: 'acme.slack',
  rule: 'rule 2 (sandbox-policy.yaml:14)',
  permissions: { net: ['slack.com:443', 'private:10.0.0.5:8080'], secrets: ['API_TOKEN'] },
};

describe('a refusal', () => {
  it('of a host names the place and the line to add', () => {
    expect(denyNet(slack, 'slack.com:443', [])).toBe(
      'acme.slack asked for slack.com:443; rule 2 (sandbox-policy.yaml:14) grants no network. ' +
        'To allow: grants: { net: ["slack.com:443"] }',
    );
  });

  it('says what is granted, and what the manifest lacks', () => {
    const granted = ['a.example:443', 'b.example:443', 'c.example:443', 'd.example:443'];
    expect(denyNet(slack, 'evil.example:443', granted, 'a.example:443')).toBe(
      'acme.slack was redirected by a.example:443 to evil.example:443; rule 2 (sandbox-policy.yaml:14) grants ' +
        'a.example:443, b.example:443, c.example:443 and 1 more only. To allow: grants: { net: ["evil.example:443"] }, ' +
        'and in the plugin: permissions: { net: ["evil.example:443"] }',
    );
  });

  it.each([
    ['10.0.0.5:8443', 'a private address', 'private:10.0.0.5:8443'],
    ['127.0.0.1:6379', 'this machine itself', 'private:127.0.0.1:6379'],
    ['[fe80::1]:80', 'an address for special use (link-local, multicast, reserved)', 'private:[fe80::1]:80'],
    ['redis:6379', 'a name of this machine or its own network', 'private:redis:6379'],
  ])('of %s without any grant says what it is, and proposes nothing that would be refused again', (place, is, line) => {
    expect(denyNet(slack, place, [])).toBe(
      `acme.slack asked for ${place}, ${is}; rule 2 (sandbox-policy.yaml:14) grants no network. To allow: ` +
        `grants: { net: ["${line}"] }, and in the plugin: permissions: { net: ["${line}"] }`,
    );
  });

  it('under the developer policy names the line of the plugin alone: whatever it asks for is granted', () => {
    const developer = { ...slack, rule: 'developer policy' };
    expect(denyNet(developer, 'example.com:443', ['slack.com:443'])).toBe(
      'acme.slack asked for example.com:443; developer policy grants slack.com:443 only. ' +
        'To allow, in the plugin: permissions: { net: ["example.com:443"] }',
    );
    expect(denySecret(developer, 'OTHER', [])).toBe(
      'acme.slack asked for the secret OTHER; developer policy grants no secrets. ' +
        'To allow, in the plugin: permissions: { secrets: ["OTHER"] }',
    );
  });

  it('is quoted in the manual as it is told', () => {
    const manual = readFileSync(new URL('../../../../docs/network-and-secrets.md', import.meta.url), 'utf8');
    const told = denyNet({ ...slack, pluginName: 'acme.db' }, '10.0.0.5:5432', []);
    expect(manual.replace(/\s+/g, ' ')).toContain(told);
  });

  it('of the metadata service warns before it says what would open it', () => {
    const message =
      'acme.slack asked for 169.254.169.254:80, where a cloud gives the credentials of this machine to whoever asks; ' +
      'rule 2 (sandbox-policy.yaml:14) grants no network. A plugin that reaches it can act as this machine: allow it only ' +
      'to one of your own. To allow: grants: { net: ["private:169.254.169.254:80"] }, and in the plugin: permissions: ' +
      '{ net: ["private:169.254.169.254:80"] }';
    expect(denyNet(slack, '169.254.169.254:80', [])).toBe(message);
    expect(denyNet(slack, '169.254.169.254:80', [], 'slack.com:443')).toBe(
      message.replace('asked for', 'was redirected by slack.com:443 to'),
    );
  });

  it('of a name of the metadata service proposes no grant of the name, which opens nothing', () => {
    expect(denyNet(slack, 'metadata.google.internal:80', [])).toMatch(
      /credentials of this machine .*; no grant of this name opens it, only one of its address$/,
    );
  });

  it('of a private address says how to grant it', () => {
    expect(denyAddress(slack, '10.0.0.5:8080', '10.0.0.5', false)).toBe(
      'acme.slack asked for 10.0.0.5:8080, a private address; rule 2 (sandbox-policy.yaml:14) does not grant it as ' +
        'private. To allow: grants: { net: ["private:10.0.0.5:8080"] }',
    );
    expect(denyAddress(slack, 'slack.com:443', '10.0.0.5', false)).toMatch(
      /asked for slack.com:443, which is 10.0.0.5 here, a private address; .* net: \["private:slack.com:443"\]/,
    );
  });

  it('of an address for special use wants the address itself in the policy', () => {
    expect(denyAddress(slack, 'slack.com:80', '169.254.169.254', true)).toMatch(
      /which is 169.254.169.254 here, where a cloud gives .* A plugin that reaches it .* net: \["private:169.254.169.254:80"\]/,
    );
    expect(denyAddress(slack, 'slack.com:80', 'fe80::1', true)).toMatch(
      /which is fe80::1 here, an address for special use .* net: \["private:\[fe80::1\]:80"\]/,
    );
  });

  it('of a secret, and of the place it was sent to', () => {
    expect(denySecret(slack, 'API_TOKEN', [])).toBe(
      'acme.slack asked for the secret API_TOKEN; rule 2 (sandbox-policy.yaml:14) grants no secrets. To allow: ' +
        'grants: { secrets: [{ name: API_TOKEN, hosts: ["slack.com:443", "private:10.0.0.5:8080"] }] }',
    );
    expect(denySecret(slack, 'OTHER', [{ name: 'API_TOKEN', hosts: [] }])).toMatch(
      /grants API_TOKEN only\. .*, and in the plugin: permissions: \{ secrets: \["OTHER"\] \}$/,
    );
    expect(denySecretPlace(slack, { name: 'API_TOKEN', hosts: ['slack.com:443'] }, 'evil.example:443')).toBe(
      'acme.slack tried to send the secret API_TOKEN to evil.example:443; rule 2 (sandbox-policy.yaml:14) lets it go to ' +
        'slack.com:443 only. To allow: grants: { secrets: [{ name: API_TOKEN, hosts: ["slack.com:443", "evil.example:443"] }] }',
    );
  });

  it('shows a stranger’s text bounded and without control characters', () => {
    const message = denySecret(slack, `a\u001b[31m\n${'x'.repeat(5000)}`, []);
    expect(message).not.toMatch(/[^\x20-\x7e]/);
    expect(message.length).toBeLessThan(2000);
  });
});
