/**
 * Turns a plugin's value into JSON text, or says what in it is not JSON and where. Stricter than JSON.stringify, which
 * drops functions and turns NaN into null in silence.
 *
 * Invariants:
 *   J1. Never throws: getters, proxies and `toJSON` of the plugin may, and become a problem.
 *   J2. Each property is read once, so what was checked is what is written.
 *   J3. Bounded in depth and in length; cycles end at the depth.
 */
import {
  isArray,
  isFiniteNumber,
  isWellFormed,
  jsonStringify,
  objectIs,
  objectPrototype,
  reflectApply,
  reflectGetOwnPropertyDescriptor,
  reflectGetPrototypeOf,
  reflectOwnKeys,
  textSlice,
  toText,
} from './primordials.ts';

/** What the engine's parser accepts (MAX_JSON_DEPTH of proto/json.ts). */
const MAX_DEPTH = 64;
/** Of a key in a message. */
const MAX_SHOWN = 60;

export type JsonText =
  | { readonly ok: true; readonly text: string }
  /** `at` is a path below the value, "" for the value itself: ".items[3].price". */
  | { readonly ok: false; readonly reason: 'invalid' | 'too-long'; readonly at: string; readonly problem: string };

class NotJson {
  readonly reason: 'invalid' | 'too-long';
  readonly at: string;
  readonly problem: string;
  constructor(reason: 'invalid' | 'too-long', at: string, problem: string) {
    this.reason = reason;
    this.at = at;
    this.problem = problem;
  }
}

/** @param maxLength in UTF-16 units; the text in UTF-8 is never shorter. */
export function toJsonText(value: unknown, maxLength: number): JsonText {
  const writer: Writer = { text: '', maxLength };
  try {
    write(writer, value, '', 0);
    return { ok: true, text: writer.text };
  } catch (thrown) {
    if (thrown instanceof NotJson) {
      return { ok: false, reason: thrown.reason, at: thrown.at, problem: thrown.problem };
    }
    return {
      ok: false,
      reason: 'invalid',
      at: '',
      problem: 'could not be read: one of its getters or its proxy threw',
    };
  }
}

interface Writer {
  text: string;
  readonly maxLength: number;
}

function put(writer: Writer, text: string, at: string): void {
  writer.text += text;
  if (writer.text.length > writer.maxLength) throw new NotJson('too-long', at, `is longer than ${writer.maxLength}`);
}

function write(writer: Writer, value: unknown, at: string, depth: number): void {
  if (typeof value === 'string') writeString(writer, value, at);
  else if (typeof value === 'boolean') put(writer, value ? 'true' : 'false', at);
  else if (value === null) put(writer, 'null', at);
  else if (typeof value === 'object') writeObject(writer, value, at, depth);
  else if (typeof value === 'number' && isFiniteNumber(value))
    put(writer, objectIs(value, -0) ? '0' : toText(value), at);
  else throw new NotJson('invalid', at, `is ${describeValue(value)}, which JSON cannot hold`);
}

function writeString(writer: Writer, value: string, at: string): void {
  if (value.length > writer.maxLength) throw new NotJson('too-long', at, `is longer than ${writer.maxLength}`);
  if (!isWellFormed(value)) {
    throw new NotJson('invalid', at, 'is text with half a surrogate pair in it; use text.toWellFormed()');
  }
  put(writer, jsonStringify(value), at);
}

function writeObject(writer: Writer, given: object, at: string, depth: number): void {
  if (depth >= MAX_DEPTH) throw new NotJson('invalid', '', `is nested deeper than ${MAX_DEPTH} levels, or in a cycle`);
  const toJson: unknown = (given as { readonly toJSON?: unknown }).toJSON;
  const value: unknown = typeof toJson === 'function' ? reflectApply(toJson as () => unknown, given, ['']) : given;
  if (typeof value !== 'object' || value === null) write(writer, value, at, depth + 1);
  else if (isArray(value)) writeArray(writer, value, at, depth);
  else writeMembers(writer, value, at, depth);
}

function writeMembers(writer: Writer, value: object, at: string, depth: number): void {
  const kind = builtInName(value);
  if (kind !== undefined) throw new NotJson('invalid', at, `is ${kind}; turn it into a plain object or array`);
  put(writer, '{', at);
  const keys = reflectOwnKeys(value);
  let isFirst = true;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    if (typeof key !== 'string') continue; // symbols are no JSON keys; JSON.stringify skips them too
    if (reflectGetOwnPropertyDescriptor(value, key)?.enumerable !== true) continue;
    const item = (value as Record<string, unknown>)[key];
    if (item === undefined) continue; // an optional property that is not set
    const itemAt = `${at}.${textSlice(key, 0, MAX_SHOWN)}`;
    if (key === '__proto__') throw new NotJson('invalid', at, 'has a key named __proto__');
    if (!isFirst) put(writer, ',', at);
    isFirst = false;
    writeString(writer, key, itemAt);
    put(writer, ':', at);
    write(writer, item, itemAt, depth + 1);
  }
  put(writer, '}', at);
}

function writeArray(writer: Writer, value: unknown[], at: string, depth: number): void {
  put(writer, '[', at);
  const length = value.length;
  for (let i = 0; i < length; i++) {
    if (i > 0) put(writer, ',', at);
    const item = value[i];
    write(writer, item === undefined ? null : item, `${at}[${i}]`, depth + 1);
  }
  put(writer, ']', at);
}

/** Things whose content JSON.stringify would lose without a word. */
const LOSSY: readonly (readonly [name: string, prototype: object])[] = [
  ['a Map', Map.prototype],
  ['a Set', Set.prototype],
  ['a WeakMap', WeakMap.prototype],
  ['a WeakSet', WeakSet.prototype],
  ['a Promise (is an await missing?)', Promise.prototype],
  ['a RegExp', RegExp.prototype],
  ['an Error', Error.prototype],
  ['an ArrayBuffer', ArrayBuffer.prototype],
  ['a typed array', Reflect.getPrototypeOf(Uint8Array.prototype) ?? Uint8Array.prototype],
  ['a DataView', DataView.prototype],
];

function builtInName(value: object): string | undefined {
  let prototype = reflectGetPrototypeOf(value);
  for (let hops = 0; prototype !== null && prototype !== objectPrototype && hops < MAX_DEPTH; hops++) {
    for (let i = 0; i < LOSSY.length; i++) {
      if (LOSSY[i]?.[1] === prototype) return LOSSY[i]?.[0];
    }
    prototype = reflectGetPrototypeOf(prototype);
  }
  return undefined;
}

/** "NaN", "a string", "a function": what a value is, for a message. Runs no code of the plugin and never throws. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'undefined':
      return 'undefined';
    case 'number':
      return toText(value);
    case 'boolean':
      return toText(value);
    case 'string':
      return value.length <= MAX_SHOWN && isWellFormed(value) ? `the text ${jsonStringify(value)}` : 'a long text';
    case 'bigint':
      return 'a BigInt';
    case 'symbol':
      return 'a symbol';
    case 'function':
      return 'a function';
    default:
      return value === null ? 'null' : describeObject(value as object);
  }
}

function describeObject(value: object): string {
  try {
    if (isArray(value)) return 'an array';
    return builtInName(value) ?? 'an object';
  } catch {
    return 'a proxy that cannot be read';
  }
}
