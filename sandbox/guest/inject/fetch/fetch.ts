/**
 * fetch: one host call for one request, the answer whole. What the host refuses rejects with a TypeError that carries
 * the host's code. https://fetch.spec.whatwg.org/#fetch-method
 */

import { MAX_HEADERS, MAX_REQUEST_BODY_BYTES } from '@flowops/proto/host-call-limits.ts';
import type { AbortSignal } from '../abort.ts';
import type { HostCalls } from '../host-calls.ts';
import { base64ToBytes, bytesToBase64 } from './base64-bytes.ts';
import { bytesOf, takeContent } from './body.ts';
import { guardedHeaders, Headers, headerList } from './headers.ts';
import { givenSignal, Request, type RequestSettings } from './request.ts';
import { Response, responseOf } from './response.ts';

/** As the host sends it: it has checked what came from outside (proto/host-call-messages.ts). */
interface Answer {
  readonly url: string;
  readonly redirected: boolean;
  readonly status: number;
  readonly statusText: string;
  readonly headers: readonly (readonly [string, string])[];
  /** Base64. */
  readonly body: string;
}

export interface FetchGlobals {
  readonly fetch: (input: unknown, init?: RequestSettings) => Promise<Response>;
  readonly Headers: typeof Headers;
  readonly Request: typeof Request;
  readonly Response: typeof Response;
  /** Rejects what is under way. */
  readonly abortAll: (reason: unknown) => void;
}

export function createFetch(calls: HostCalls): FetchGlobals {
  const open = new Set<(reason: unknown) => void>();
  const send = async (payload: object, signal: AbortSignal | undefined): Promise<Answer> => {
    const aborted = Promise.withResolvers<never>();
    const { id, answer } = calls.start('fetch', payload);
    const abort = (reason: unknown): void => {
      calls.abandon(id);
      aborted.reject(reason);
    };
    const onAbort = (): void => abort(signal?.reason);
    open.add(abort);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return (await Promise.race([answer, aborted.promise])) as Answer;
    } finally {
      open.delete(abort);
      signal?.removeEventListener('abort', onAbort);
    }
  };
  const fetch = async (input: unknown, init?: RequestSettings): Promise<Response> => {
    const request = new Request(input, init);
    const signal = givenSignal(request);
    signal?.throwIfAborted();
    return readAnswer(await send(payloadOf(request), signal));
  };
  const abortAll = (reason: unknown): void => {
    for (const abort of [...open]) abort(reason);
  };
  return { fetch, Headers, Request, Response, abortAll };
}

function payloadOf(request: Request): object {
  const headers = headerList(request.headers);
  if (headers.length > MAX_HEADERS) throw new TypeError(`a request has at most ${MAX_HEADERS} headers`);
  const content = takeContent(request);
  const bytes = typeof content === 'string' ? bytesOf(content) : content;
  if (bytes !== null && bytes.length > MAX_REQUEST_BODY_BYTES) {
    const size = `the body has ${bytes.length} bytes; at most ${MAX_REQUEST_BODY_BYTES} can be sent at once`;
    throw new TypeError(`${size}: send it in parts`);
  }
  const { url, method, redirect } = request;
  return { url, method, headers, body: bytes === null ? null : bytesToBase64(bytes), redirect };
}

function readAnswer({ url, redirected, status, statusText, headers, body }: Answer): Response {
  return responseOf({
    status,
    statusText,
    headers: guardedHeaders(headers, 'immutable'),
    origin: { type: 'basic', url, redirected },
    content: body === '' ? null : base64ToBytes(body),
  });
}
