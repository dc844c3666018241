/**
 * The next request after a redirect, by the rules of the Fetch standard
 * (https://fetch.spec.whatwg.org/#http-redirect-fetch). Whether it may be made is asked anew elsewhere. Deterministic.
 */

import { type ReadTarget, readTarget } from '@flowops/proto/net-grants.ts';
import type { AnswerHead, WireRequest } from './exchange.ts';
import { withoutBodyHeaders, withoutCredentials } from './request-headers.ts';

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** The Location of a redirect; undefined for every other answer. */
export function locationOf({ status, headers }: AnswerHead): string | undefined {
  return REDIRECTS.has(status) ? headers.find(([name]) => name === 'location')?.[1] : undefined;
}

/** @param holdsSecret for header values that are credentials under another name. */
export function followRedirect(
  request: WireRequest,
  redirect: { readonly status: number; readonly location: string },
  holdsSecret: (value: string) => boolean,
): (ReadTarget & { readonly ok: false }) | { readonly ok: true; readonly request: WireRequest } {
  const read = readTarget(redirect.location, request.target.url);
  if (!read.ok) return read;
  const { target } = read;
  if (target.url.hash === '') target.url.hash = request.target.url.hash;
  let { method, headers, body } = request;
  const isPost = method === 'POST' && (redirect.status === 301 || redirect.status === 302);
  if (isPost || (redirect.status === 303 && method !== 'GET' && method !== 'HEAD')) {
    method = 'GET';
    body = null;
    headers = withoutBodyHeaders(headers);
  }
  if (target.url.origin !== request.target.url.origin) headers = withoutCredentials(headers, holdsSecret);
  return { ok: true, request: { target, method, headers, body } };
}
