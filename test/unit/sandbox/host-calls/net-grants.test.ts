import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NetGrants, readTarget } from '../../../../proto/net-grants.ts';
import { mayReach } from '../../../../sandbox/host-calls/may-reach.ts';

function isGranted(grants: readonly string[], url: string): boolean {
  const read = readTarget(url);
  return read.ok && new NetGrants(grants).find(read.target) !== undefined;
}

describe('a grant of host and port', () => {
  it.each([
    ['api.example.com:443', 'https://api.example.com/x?y'],
    ['api.example.com:443', 'https://API.Example.COM:443/'],
    ['api.example.com:443', 'https://api.example.com./'],
    ['API.example.com:443', 'https://api.example.com/'],
    ['api.example.com.:443', 'https://api.example.com/'],
    ['api.example.com:80', 'http://api.example.com/'],
    ['api.example.com:8443', 'https://api.example.com:8443/'],
    ['bücher.example:443', 'https://xn--bcher-kva.example/'],
    ['xn--bcher-kva.example:443', 'https://BÜCHER.example/'],
    ['127.0.0.1:80', 'http://127.0.0.1/'],
    ['127.0.0.1:80', 'http://0x7f.1/'],
    ['127.0.0.1:80', 'http://2130706433/'],
    ['127.0.0.1:80', 'http://017700000001./'],
    ['private:[::1]:8080', 'http://[0:0:0:0:0:0:0:1]:8080/'],
  ])('%s covers %s', (grant, url) => {
    expect(isGranted([grant], url)).toBe(true);
  });

  it.each([
    ['api.example.com:443', 'http://api.example.com/'],
    ['api.example.com:443', 'https://example.com/'],
    ['api.example.com:443', 'https://x.api.example.com/'],
    ['api.example.com:443', 'https://api.example.com.evil.test/'],
    ['api.example.com:443', 'https://api.example.com../'],
    ['api.example.com:443', 'https://api-example.com/'],
    ['api.example.com:443', 'https://evil.test/#@api.example.com'],
    ['api.example.com:443', 'https://evil.test/?api.example.com:443'],
    ['api.example.com:443', 'https://evil.test\\@api.example.com/'],
    ['api.example.com:443', 'https://аpi.example.com/'],
    ['*.example.com:443', 'https://api.example.com/'],
    ['*:443', 'https://api.example.com/'],
    ['api.example.com', 'https://api.example.com/'],
    ['api.example.com:0', 'http://api.example.com:0/'],
    ['api.example.com:65536', 'https://api.example.com/'],
    ['api.example.com:0443', 'https://api.example.com/'],
    ['u@api.example.com:443', 'https://api.example.com/'],
    ['x/y:443', 'https://x/y'],
    ['api.example.com:443', 'wss://api.example.com/'],
    ['api.example.com:443', 'file:///etc/passwd'],
  ])('%s does not cover %s', (grant, url) => {
    expect(isGranted([grant], url)).toBe(false);
  });

  it('is told back in the form of the policy, the private one winning over the plain one', () => {
    const grants = new NetGrants(['A.example:443', 'private:b.example:80', 'b.example:80', 'nonsense']);
    expect(grants.texts).toEqual(['a.example:443', 'private:b.example:80']);
  });

  it('covers exactly the hosts that the URL parser reads as the same', () => {
    const label = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
    const host = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'));
    const port = fc.integer({ min: 1, max: 65_535 });
    fc.assert(
      fc.property(host, port, host, port, (granted, grantedPort, asked, askedPort) => {
        const isSame = granted === asked && grantedPort === askedPort;
        const url = `http://${asked.toUpperCase()}:${askedPort}/`;
        expect(isGranted([`${granted}:${grantedPort}`], url)).toBe(isSame);
      }),
    );
  });

  it('never throws, whatever a policy or a plugin writes', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (grant, url) => typeof isGranted([grant], url) === 'boolean'));
  });
});

describe('a target', () => {
  it.each(['https://user@slack.com/', 'https://user:pass@slack.com/', 'https://:pass@slack.com/'])(
    'with user info is refused: %s',
    (url) => {
      expect(readTarget(url)).toMatchObject({ ok: false, isUrl: true, problem: expect.stringMatching(/user/) });
    },
  );

  it('of another scheme is refused, and text that is no URL is told apart', () => {
    expect(readTarget('ftp://a.example/')).toMatchObject({ ok: false, isUrl: true });
    expect(readTarget('/relative')).toMatchObject({ ok: false, isUrl: false });
  });
});

describe('what a grant may reach', () => {
  const grantOf = (text: string) => {
    const read = readTarget(`http://${text.replace('private:', '')}/`);
    const grant = read.ok ? new NetGrants([text]).find(read.target) : undefined;
    if (grant === undefined) throw new Error(text);
    return grant;
  };

  it.each([
    ['a.example:80', 'global', true],
    ['a.example:80', 'private', false],
    ['a.example:80', 'special', false],
    ['private:a.example:80', 'private', true],
    ['private:a.example:80', 'special', false],
    ['private:169.254.169.254:80', 'special', true],
    ['10.0.0.1:80', 'private', false],
    ['private:[::1]:80', 'private', true],
  ] as const)('%s → %s: %s', (text, address, expected) => {
    expect(mayReach(grantOf(text), address)).toBe(expected);
  });
});
