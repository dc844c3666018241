/** Response. https://fetch.spec.whatwg.org/#response-class */
import { Body, type Content, copyContent, readBody } from './body.ts';
import { type Guard, guardedHeaders, type Headers } from './headers.ts';

interface ResponseSettings {
  readonly status?: unknown;
  readonly statusText?: unknown;
  readonly headers?: unknown;
}

/** Where an answer came from; one that a plugin made itself came from nowhere. */
export interface Origin {
  readonly type: 'default' | 'basic' | 'error';
  readonly url: string;
  readonly redirected: boolean;
}

export interface ResponseParts {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Headers;
  readonly origin: Origin;
  readonly content: Content;
}

const NULL_BODY_STATUSES: ReadonlySet<number> = new Set([101, 103, 204, 205, 304]);
const REDIRECT_STATUSES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const STATUS_TEXT = /^[\t\x20-\x7e\x80-\xff]*$/;
const OWN: Origin = { type: 'default', url: '', redirected: false };

/** What the next construction makes instead of reading its arguments; the way in for `responseOf`. */
let ready: ResponseParts | undefined;

export class Response extends Body {
  readonly #parts: ResponseParts;

  constructor(body?: unknown, init?: ResponseSettings) {
    const parts = ready ?? readParts(body, init ?? {});
    ready = undefined;
    super(parts.content);
    this.#parts = parts;
  }

  get type(): Origin['type'] {
    return this.#parts.origin.type;
  }

  get url(): string {
    return this.#parts.origin.url;
  }

  get redirected(): boolean {
    return this.#parts.origin.redirected;
  }

  get status(): number {
    return this.#parts.status;
  }

  get statusText(): string {
    return this.#parts.statusText;
  }

  get ok(): boolean {
    return this.#parts.status >= 200 && this.#parts.status < 300;
  }

  get headers(): Headers {
    return this.#parts.headers;
  }

  clone(): Response {
    const { headers, origin } = this.#parts;
    const guard: Guard = origin.type === 'default' ? 'none' : 'immutable';
    return responseOf({ ...this.#parts, headers: guardedHeaders(headers, guard), content: copyContent(this) });
  }

  static json(data: unknown, init?: ResponseSettings): Response {
    const text: string | undefined = JSON.stringify(data);
    if (text === undefined) throw new TypeError('Response.json: the value has no JSON');
    const parts = readParts(text, init ?? {}, 'application/json');
    return responseOf(parts);
  }

  static error(): Response {
    const headers = guardedHeaders(undefined, 'immutable');
    const origin: Origin = { type: 'error', url: '', redirected: false };
    return responseOf({ status: 0, statusText: '', headers, origin, content: null });
  }

  static redirect(url: unknown, status: unknown = 302): Response {
    const code = Number(status);
    if (!REDIRECT_STATUSES.has(code)) throw new RangeError('Response.redirect: the status is no redirect');
    const headers = guardedHeaders([['location', String(url)]], 'immutable');
    return responseOf({ status: code, statusText: '', headers, origin: OWN, content: null });
  }
}

export function responseOf(parts: ResponseParts): Response {
  ready = parts;
  return new Response();
}

function readParts(body: unknown, init: ResponseSettings, contentType?: string): ResponseParts {
  const { status = 200, statusText = '', headers: given } = init;
  const code = Number(status);
  if (!Number.isInteger(code) || code < 200 || code > 599) {
    throw new RangeError('Response: a status is a number from 200 to 599');
  }
  const text = String(statusText);
  if (!STATUS_TEXT.test(text)) throw new TypeError('Response: the status text is not one that HTTP can carry');
  const { content, type } = readBody(body);
  if (content !== null && NULL_BODY_STATUSES.has(code)) {
    throw new TypeError(`Response: an answer with status ${code} has no body`);
  }
  const headers = guardedHeaders(given, 'none');
  const itsType = contentType ?? type;
  if (itsType !== undefined && !headers.has('content-type')) headers.set('content-type', itsType);
  return { status: code, statusText: text, headers, origin: OWN, content };
}
