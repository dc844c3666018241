/** Headers. https://fetch.spec.whatwg.org/#headers-class */
import { HOST_HEADER_PREFIX, HOST_HEADERS } from '@flowops/proto/host-call-limits.ts';

/** `request`: what only the host may set is left out. `immutable`: those of an answer. */
export type Guard = 'none' | 'request' | 'immutable';

export type HeaderList = readonly (readonly [name: string, value: string])[];

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** What HTTP can carry: no line ends, no NUL, nothing above a byte. */
const VALUE = /^[^\0\n\r\u0100-\uffff]*$/;
const OUTER_SPACE = /^[\t\n\r ]+|[\t\n\r ]+$/g;
const ofHost: ReadonlySet<string> = new Set(HOST_HEADERS);

/** Set once by the class below; not reachable for a plugin. */
let setGuard: (headers: Headers, guard: Guard) => Headers;
let listOf: (headers: Headers) => HeaderList;

export class Headers {
  /** Names in lower case, in the order they came. */
  #list: [name: string, value: string][] = [];
  #guard: Guard = 'none';

  constructor(init?: unknown) {
    fill(this, init);
  }

  append(name: unknown, value: unknown): void {
    const entry = this.#entry('append', name, value);
    if (entry !== undefined) this.#list.push(entry);
  }

  set(name: unknown, value: unknown): void {
    const entry = this.#entry('set', name, value);
    if (entry === undefined) return;
    const at = this.#list.findIndex(([other]) => other === entry[0]);
    if (at < 0) {
      this.#list.push(entry);
      return;
    }
    this.#list = this.#list.filter(([other], i) => i <= at || other !== entry[0]);
    this.#list[at] = entry;
  }

  delete(name: unknown): void {
    const key = readName('delete', name);
    if (!this.#isWritable(key)) return;
    this.#list = this.#list.filter(([other]) => other !== key);
  }

  get(name: unknown): string | null {
    const key = readName('get', name);
    const values = this.#list.filter(([other]) => other === key).map(([, value]) => value);
    return values.length === 0 ? null : values.join(', ');
  }

  has(name: unknown): boolean {
    const key = readName('has', name);
    return this.#list.some(([other]) => other === key);
  }

  getSetCookie(): string[] {
    return this.#list.filter(([name]) => name === 'set-cookie').map(([, value]) => value);
  }

  forEach(callback: unknown, self?: unknown): void {
    if (typeof callback !== 'function') throw new TypeError('Headers.forEach: the callback is not a function');
    for (const [name, value] of this.entries()) Reflect.apply(callback, self, [value, name, this]);
  }

  /** Sorted by name, values of one name joined, but those of set-cookie. */
  *entries(): Generator<[string, string], void, undefined> {
    const names = [...new Set(this.#list.map(([name]) => name))].sort();
    for (const name of names) {
      if (name === 'set-cookie') for (const value of this.getSetCookie()) yield [name, value];
      else yield [name, this.get(name) ?? ''];
    }
  }

  *keys(): Generator<string, void, undefined> {
    for (const [name] of this.entries()) yield name;
  }

  *values(): Generator<string, void, undefined> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): Generator<[string, string], void, undefined> {
    return this.entries();
  }

  #entry(what: string, name: unknown, value: unknown): [string, string] | undefined {
    const key = readName(what, name);
    const text = String(value).replace(OUTER_SPACE, '');
    if (!VALUE.test(text)) throw new TypeError(`Headers.${what}: the value of ${key} is not one that HTTP can carry`);
    return this.#isWritable(key) ? [key, text] : undefined;
  }

  #isWritable(key: string): boolean {
    if (this.#guard === 'immutable') throw new TypeError('the headers of an answer cannot be changed');
    return this.#guard !== 'request' || !(ofHost.has(key) || key.startsWith(HOST_HEADER_PREFIX));
  }

  static {
    setGuard = (headers, guard) => {
      headers.#guard = guard;
      if (guard === 'request') headers.#list = headers.#list.filter(([key]) => headers.#isWritable(key));
      return headers;
    };
    listOf = (headers) => headers.#list;
  }
}

export function guardedHeaders(init: unknown, guard: Guard): Headers {
  return setGuard(new Headers(init), guard);
}

export function headerList(headers: Headers): HeaderList {
  return listOf(headers);
}

function fill(headers: Headers, init: unknown): void {
  if (init === undefined || init === null) return;
  if (typeof init !== 'object' && typeof init !== 'function') {
    throw new TypeError('Headers takes an object, a list of pairs, or other Headers');
  }
  if (init instanceof Headers) {
    for (const [name, value] of listOf(init)) headers.append(name, value);
  } else if (Symbol.iterator in init) {
    for (const pair of init as Iterable<unknown>) {
      const [name, value, ...rest] = Array.from(pair as Iterable<unknown>);
      if (value === undefined || rest.length > 0) throw new TypeError('Headers: a pair has a name and a value');
      headers.append(name, value);
    }
  } else {
    for (const name of Object.keys(init)) headers.append(name, (init as Record<string, unknown>)[name]);
  }
}

function readName(what: string, name: unknown): string {
  const text = String(name);
  if (!TOKEN.test(text))
    throw new TypeError(`Headers.${what}: ${JSON.stringify(text.slice(0, 100))} is no header name`);
  return text.toLowerCase();
}
