import { describe, expect, it } from 'vitest';
import { nodeAddress, parseRedisUrl } from '../../../../engine/store/redis-url.ts';

const PLAIN = { db: 0, login: {} };

describe('REDIS_URL', () => {
  it.each([
    ['redis://localhost', { ...PLAIN, hosts: [{ host: 'localhost', port: 6379 }] }],
    ['redis://10.0.0.7:6380/5', { ...PLAIN, hosts: [{ host: '10.0.0.7', port: 6380 }], db: 5 }],
    ['rediss://cache.example.com/', { ...PLAIN, hosts: [{ host: 'cache.example.com', port: 6379 }], tls: {} }],
    ['redis://[::1]:7000', { ...PLAIN, hosts: [{ host: '::1', port: 7000 }] }],
    ['redis://:p%40ss@h', { ...PLAIN, hosts: [{ host: 'h', port: 6379 }], login: { password: 'p@ss' } }],
    ['redis://u@h', { ...PLAIN, hosts: [{ host: 'h', port: 6379 }], login: { username: 'u' } }],
    ['redis://u:p@h:1/2', { hosts: [{ host: 'h', port: 1 }], db: 2, login: { username: 'u', password: 'p' } }],
    [
      'rediss://u:p@a,b:7001,[::1]:7002',
      {
        hosts: [
          { host: 'a', port: 6379 },
          { host: 'b', port: 7001 },
          { host: '::1', port: 7002 },
        ],
        db: 0,
        login: { username: 'u', password: 'p' },
        tls: {},
      },
    ],
    [
      'redis://a,b:7001/3?sentinel=flows',
      {
        hosts: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 7001 },
        ],
        db: 3,
        login: {},
        sentinel: { name: 'flows', login: {} },
      },
    ],
  ])('%s is understood', (text, expected) => {
    expect(parseRedisUrl(text)).toEqual({ ...expected, label: expect.any(String) });
  });

  it('is shown without its password', () => {
    expect(parseRedisUrl('rediss://u:secret@h:1/2').label).toBe('rediss://h:1/2');
    expect(parseRedisUrl('redis://u:secret@a,b?sentinel=x').label).toBe('redis://a:26379,b:26379/0?sentinel=x');
  });

  it('takes certificates for rediss:// and a login of its own for the sentinels', () => {
    const address = parseRedisUrl('rediss://a?sentinel=x', {
      tls: { ca: 'CA', cert: 'CERT', key: 'KEY' },
      sentinelLogin: { password: 'other' },
    });
    expect(address).toMatchObject({
      tls: { ca: 'CA', cert: 'CERT', key: 'KEY' },
      sentinel: { login: { password: 'other' } },
    });
  });

  it('gives each node of a cluster the login and the encryption of the cluster', () => {
    const node = nodeAddress(parseRedisUrl('rediss://u:p@a,b', { tls: { ca: 'CA' } }), { host: 'c', port: 7 });
    expect(node).toEqual({
      hosts: [{ host: 'c', port: 7 }],
      db: 0,
      login: { username: 'u', password: 'p' },
      tls: { ca: 'CA' },
      label: 'rediss://c:7',
    });
  });

  it.each([
    [{ ca: 'PEM' }, 'redis://h', /not encrypted, but REDIS_TLS_CA is set/],
    [{ cert: 'PEM' }, 'rediss://h', /REDIS_TLS_CERT and REDIS_TLS_KEY belong together/],
    [{ key: 'PEM' }, 'rediss://h', /REDIS_TLS_CERT and REDIS_TLS_KEY belong together/],
  ])('certificates that would do nothing are refused: %o with %s', (tls, text, message) => {
    expect(() => parseRedisUrl(text, { tls })).toThrow(message);
  });

  it.each([
    ['redis://u:secret@a:1,b:2/3', /several hosts and a database/],
    ['redis://a,,b', /no HOST:PORT/],
    ['localhost:6379', /is not a URL/],
    ['', /is not a URL/],
    ['http://secret@h', /begins with http:/],
    ['redis://', /no host/],
    ['redis://u:secret@h/zero', /database that is no number/],
    ['redis://u:secret@h/1?tls=1', /more after the database number than \?sentinel=NAME/],
    ['redis://u:secret@h/1#x', /more after the database number/],
    ['redis://u:secret@h?sentinel=', /\?sentinel=NAME/],
    ['redis://u:sec%ret@h/1', /% that encodes nothing/],
    ['redis://u:secret@h:70000', /no HOST:PORT/],
    ['redis://u:secret@h:0', /no HOST:PORT/],
    ['redis://u:secret@h h', /no HOST:PORT/],
  ])('%s is refused with what to write, and no password', (text, message) => {
    const attempt = () => parseRedisUrl(text);
    expect(attempt).toThrow(message);
    expect(attempt).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(attempt).not.toThrow(/secret/);
  });
});
