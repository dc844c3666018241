import { describe, expect, it } from 'vitest';
import { readTarget } from '../../../../proto/net-grants.ts';
import type { WireRequest } from '../../../../sandbox/host-calls/exchange.ts';
import { followRedirect, locationOf } from '../../../../sandbox/host-calls/redirects.ts';

function requestTo(url: string, changes: Partial<WireRequest> = {}): WireRequest {
  const read = readTarget(url);
  if (!read.ok) throw new Error(read.problem);
  const headers = [
    ['authorization', 'Bearer x'],
    ['cookie', 'a=b'],
    ['x-key', 'SECRET'],
    ['x-trace', '1'],
    ['content-type', 'text/plain'],
  ] as const;
  return { target: read.target, method: 'GET', headers, body: null, ...changes };
}

function follow(request: WireRequest, status: number, location: string): WireRequest {
  const next = followRedirect(request, { status, location }, (value) => value.includes('SECRET'));
  if (!next.ok) throw new Error(next.problem);
  return next.request;
}

const names = (request: WireRequest): string[] => request.headers.map(([name]) => name);

describe('a redirect', () => {
  it('to the same origin keeps every header', () => {
    const next = follow(requestTo('https://a.example/x'), 302, '/y');
    expect(next.target.url.href).toBe('https://a.example/y');
    expect(names(next)).toEqual(['authorization', 'cookie', 'x-key', 'x-trace', 'content-type']);
  });

  it.each(['https://b.example/', 'http://a.example/', 'https://a.example:8443/', '//b.example/'])(
    'to %s takes away what says who asks, and headers with a secret',
    (location) => {
      expect(names(follow(requestTo('https://a.example/x'), 307, location))).toEqual(['x-trace', 'content-type']);
    },
  );

  it.each([
    [301, 'POST', 'GET'],
    [302, 'POST', 'GET'],
    [303, 'POST', 'GET'],
    [303, 'PUT', 'GET'],
    [303, 'HEAD', 'HEAD'],
    [301, 'PUT', 'PUT'],
    [307, 'POST', 'POST'],
    [308, 'POST', 'POST'],
  ])('%s of a %s becomes a %s', (status, method, expected) => {
    const next = follow(requestTo('https://a.example/', { method, body: Buffer.from('b') }), status, '/');
    const keepsBody = expected === method && method !== 'HEAD';
    expect(next.method).toBe(expected);
    if (keepsBody) expect(next.body?.toString()).toBe('b');
    if (expected === 'GET') expect([next.body, names(next).includes('content-type')]).toEqual([null, false]);
  });

  it.each(['ftp://a.example/', 'https://u:p@a.example/', 'http://[::', 'javascript:alert(1)'])(
    'to %s is not followed',
    (location) => {
      expect(followRedirect(requestTo('https://a.example/'), { status: 302, location }, () => false).ok).toBe(false);
    },
  );

  it('is an answer of five statuses that says where to', () => {
    const head = (status: number, location?: string) => ({
      status,
      statusText: '',
      headers: location === undefined ? [] : [['location', location] as const],
      headBytes: 0,
    });
    expect([301, 302, 303, 307, 308].map((status) => locationOf(head(status, '/')))).toEqual(Array(5).fill('/'));
    expect([200, 201, 300, 304, 305, 306].map((status) => locationOf(head(status, '/')))).toEqual(
      Array(6).fill(undefined),
    );
    expect(locationOf(head(302))).toBeUndefined();
  });
});
