import { describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../../../engine/store/redis-url.ts';

describe('REDIS_URL', () => {
  it.each([
    ['redis://localhost', { host: 'localhost', port: 6379, db: 0, tls: false }],
    ['redis://10.0.0.7:6380/5', { host: '10.0.0.7', port: 6380, db: 5, tls: false }],
    ['rediss://cache.example.com/', { host: 'cache.example.com', port: 6379, db: 0, tls: true }],
    ['redis://[::1]:7000', { host: '::1', port: 7000, db: 0, tls: false }],
    ['redis://:p%40ss@h', { host: 'h', port: 6379, db: 0, tls: false, password: 'p@ss' }],
    ['redis://u:p@h:1/2', { host: 'h', port: 1, db: 2, tls: false, username: 'u', password: 'p' }],
  ])('%s is understood', (text, expected) => {
    expect(parseRedisUrl(text)).toEqual({ ...expected, label: expect.any(String) });
  });

  it('is shown without its password', () => {
    expect(parseRedisUrl('rediss://u:secret@h:1/2').label).toBe('rediss://h:1/2');
  });

  it.each([
    ['redis://a:1,redis://b:2', /several hosts.*Cluster and Sentinel are not supported/],
    ['redis://u:secret@a:1,b:2', /several hosts/],
    ['localhost:6379', /begins with localhost:\/\//],
    ['', /is not a URL/],
    ['http://secret@h', /begins with http:/],
    ['redis://', /no host|not a URL/],
    ['redis://u:secret@h/zero', /database that is no number/],
    ['redis://u:secret@h/1?tls=1', /more after the database number/],
    ['redis://u:sec%ret@h/1', /% that encodes nothing/],
    ['redis://u:secret@h:70000', /is not a URL/],
  ])('%s is refused with what to write, and no password', (text, message) => {
    const attempt = () => parseRedisUrl(text);
    expect(attempt).toThrow(message);
    expect(attempt).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(attempt).not.toThrow(/secret/);
  });
});
