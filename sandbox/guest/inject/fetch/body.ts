/**
 * What Request and Response have in common: a body that is whole, as text or bytes, and is read once. There are no
 * streams: `body` is always null. https://fetch.spec.whatwg.org/#body-mixin
 */
import { loadEncoding } from '../polyfills.ts';

/** Text stays text until somebody wants its bytes. */
export type Content = string | Uint8Array | null;

/** Set once by the class below; not reachable for a plugin. */
let takeOf: (body: Body) => Content;
let copyOf: (body: Body) => Content;

export class Body {
  readonly #content: Content;
  #isUsed = false;

  constructor(content: Content) {
    this.#content = content;
  }

  get body(): null {
    return null;
  }

  get bodyUsed(): boolean {
    return this.#isUsed;
  }

  async text(): Promise<string> {
    return textOf(this.#take());
  }

  async json(): Promise<unknown> {
    return JSON.parse(textOf(this.#take())) as unknown;
  }

  async bytes(): Promise<Uint8Array> {
    return bytesOf(this.#take());
  }

  async arrayBuffer(): Promise<ArrayBufferLike> {
    return bytesOf(this.#take()).buffer;
  }

  /** Where the plugin brought a Blob of its own: packages ask for one when `body` is null. */
  async blob(): Promise<unknown> {
    const given: unknown = Reflect.get(globalThis, 'Blob');
    if (typeof given !== 'function') throw new TypeError('there is no Blob in a plugin: use bytes() or arrayBuffer()');
    return Reflect.construct(given, [[bytesOf(this.#take())]]);
  }

  async formData(): Promise<never> {
    throw new TypeError('there is no FormData in a plugin: use text() and URLSearchParams, or bytes()');
  }

  #take(): Content {
    if (this.#isUsed) throw new TypeError('the body has been read already; clone() before the first read');
    this.#isUsed = this.#content !== null;
    return this.#content;
  }

  static {
    takeOf = (body) => body.#take();
    copyOf = (body) => {
      if (body.#isUsed) throw new TypeError('the body has been read already and cannot be cloned');
      return body.#content;
    };
  }
}

/** Counts as its one read. */
export function takeContent(body: Body): Content {
  return takeOf(body);
}

/** Throws where the body was read. */
export function copyContent(body: Body): Content {
  return copyOf(body);
}

export interface ReadBody {
  readonly content: Content;
  /** The content type that goes with it, where the plugin gave none. */
  readonly type: string | undefined;
}

/** A body as a plugin gives it. Bytes are copied: they are the plugin's to change. */
export function readBody(body: unknown): ReadBody {
  if (body === undefined || body === null) return { content: null, type: undefined };
  if (typeof body !== 'object') return { content: String(body), type: 'text/plain;charset=UTF-8' };
  if (ArrayBuffer.isView(body)) {
    return { content: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice(), type: undefined };
  }
  if (isTagged(body, 'ArrayBuffer')) return { content: new Uint8Array(body as ArrayBuffer).slice(), type: undefined };
  if (isTagged(body, 'URLSearchParams')) {
    return { content: String(body), type: 'application/x-www-form-urlencoded;charset=UTF-8' };
  }
  throw new TypeError(
    'a body is a string, bytes or URLSearchParams; for JSON give JSON.stringify(value) and the header content-type',
  );
}

/** Always a copy. */
export function bytesOf(content: Content): Uint8Array {
  if (content === null) return new Uint8Array(0);
  return typeof content === 'string' ? new (loadEncoding().TextEncoder)().encode(content) : content.slice();
}

function textOf(content: Content): string {
  if (content === null) return '';
  return typeof content === 'string' ? content.toWellFormed() : new (loadEncoding().TextDecoder)().decode(content);
}

function isTagged(value: object, tag: string): boolean {
  return Object.prototype.toString.call(value) === `[object ${tag}]`;
}
