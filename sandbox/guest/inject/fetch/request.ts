/** Request, without what has no meaning outside a browser (mode, credentials, cache …). https://fetch.spec.whatwg.org/#request-class */
import { MAX_URL_LENGTH } from '@flowops/proto/host-call-limits.ts';
import type { AbortSignal } from '../abort.ts';
import { loadAbort, loadUrl } from '../polyfills.ts';
import { Body, type Content, copyContent, readBody, takeContent } from './body.ts';
import { guardedHeaders, type Headers } from './headers.ts';
import { plainUrl } from './plain-url.ts';

export type Redirect = 'follow' | 'manual' | 'error';

/** What is looked at of a plugin's `init`; each property is read once. */
export interface RequestSettings {
  readonly method?: unknown;
  readonly headers?: unknown;
  readonly body?: unknown;
  readonly redirect?: unknown;
  readonly signal?: unknown;
}

interface Parts {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly redirect: Redirect;
  readonly signal: AbortSignal | undefined;
  readonly content: Content;
}

const METHOD = /^[A-Za-z]{1,16}$/;
/** They would make a tunnel, or show what the host adds. */
const FORBIDDEN_METHODS: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK']);

let partsOf: (request: Request) => Parts;

export class Request extends Body {
  readonly #parts: Parts;
  #signal: AbortSignal | undefined;

  constructor(input: unknown, init?: RequestSettings) {
    const parts = readParts(input, init ?? {});
    super(parts.content);
    this.#parts = parts;
    this.#signal = parts.signal;
  }

  get url(): string {
    return this.#parts.url;
  }

  get method(): string {
    return this.#parts.method;
  }

  get headers(): Headers {
    return this.#parts.headers;
  }

  get redirect(): Redirect {
    return this.#parts.redirect;
  }

  get signal(): AbortSignal {
    const signal = this.#signal ?? new (loadAbort().AbortController)().signal;
    this.#signal = signal;
    return signal;
  }

  clone(): Request {
    const { url, method, headers, redirect, signal } = this.#parts;
    return new Request(url, { method, headers, redirect, signal, body: copyContent(this) });
  }

  static {
    partsOf = (request) => request.#parts;
  }
}

/** Undefined where the plugin gave none, so that none has to be made. */
export function givenSignal(request: Request): AbortSignal | undefined {
  return partsOf(request).signal;
}

function readParts(input: unknown, init: RequestSettings): Parts {
  const from = input instanceof Request ? input : undefined;
  const base = from === undefined ? undefined : partsOf(from);
  const { method, headers, body, redirect, signal } = init;
  const read =
    body === undefined && from !== undefined ? { content: takeContent(from), type: undefined } : readBody(body);
  const parts = {
    url: base?.url ?? readUrl(input),
    method: method === undefined ? (base?.method ?? 'GET') : readMethod(method),
    headers: guardedHeaders(headers ?? base?.headers, 'request'),
    redirect: redirect === undefined ? (base?.redirect ?? 'follow') : readRedirect(redirect),
    signal: signal === undefined ? base?.signal : readSignal(signal),
    content: read.content,
  };
  if (read.content !== null && (parts.method === 'GET' || parts.method === 'HEAD')) {
    throw new TypeError(`a ${parts.method} request has no body`);
  }
  if (read.type !== undefined && !parts.headers.has('content-type')) parts.headers.set('content-type', read.type);
  return parts;
}

function readUrl(input: unknown): string {
  const text = String(input);
  if (text.length > MAX_URL_LENGTH) throw new TypeError(`a URL has at most ${MAX_URL_LENGTH} characters`);
  const plain = plainUrl(text);
  if (plain !== undefined) return plain;
  const url = new (loadUrl().URL)(text);
  if (url.username !== '' || url.password !== '') {
    throw new TypeError('a URL for fetch has no user name and no password: use the header authorization');
  }
  return url.href;
}

/** Upper case, also where the Fetch standard leaves `patch` as it is: HTTP's own methods are upper case. */
function readMethod(method: unknown): string {
  const text = String(method);
  if (!METHOD.test(text)) throw new TypeError(`${JSON.stringify(text.slice(0, 100))} is no HTTP method`);
  const upper = text.toUpperCase();
  if (FORBIDDEN_METHODS.has(upper)) throw new TypeError(`a plugin may not send ${upper} requests`);
  return upper;
}

function readRedirect(redirect: unknown): Redirect {
  if (redirect === 'follow' || redirect === 'manual' || redirect === 'error') return redirect;
  throw new TypeError('redirect is "follow", "manual" or "error"');
}

function readSignal(signal: unknown): AbortSignal | undefined {
  if (signal === null) return undefined;
  const { AbortSignal: Signal } = loadAbort();
  if (signal instanceof Signal) return signal as AbortSignal;
  throw new TypeError('signal is not an AbortSignal');
}
