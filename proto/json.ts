/**
 * JSON as data: its type, and a parser for text from outside that bounds depth and number of values and refuses
 * `__proto__` keys. Brackets are cheap to send and dear to hold (8 MB of them are 350 MB of arrays and a second of
 * work), so a long text is looked over before it is parsed.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** Deeper than any real document; shallow enough that recursion over it is safe. */
export const MAX_JSON_DEPTH = 64;

/** Arrays and objects, and what lies in them: 30 MB when each is an empty array. */
export const MAX_JSON_VALUES = 1_000_000;
/** What so short a text can make is small. */
const LOOK_FROM_LENGTH = 4 * 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
/** `[` is `{` without this bit, `]` is `}` without it. */
const CURLY_BIT = 0x20;
const OPENING = 0x7b;
const CLOSING = 0x7d;

export interface JsonBounds {
  readonly depth?: number;
  readonly values?: number;
}

export type ParsedJson = { ok: true; value: Json } | { ok: false; problem: string };

/** Parses text from outside. Never throws; the problem is one clause. */
export function parseJson(text: string, bounds: JsonBounds = {}): ParsedJson {
  const { depth = MAX_JSON_DEPTH, values = MAX_JSON_VALUES } = bounds;
  const shape = text.length < LOOK_FROM_LENGTH ? undefined : shapeProblem(text, depth, values);
  if (shape !== undefined) return { ok: false, problem: shape };
  let value: Json;
  try {
    value = JSON.parse(text) as Json; // JSON.parse gives exactly the Json type
  } catch (thrown) {
    return { ok: false, problem: thrown instanceof Error ? thrown.message : 'not JSON' };
  }
  const problem = findProblem(value, depth);
  return problem === undefined ? { ok: true, value } : { ok: false, problem };
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Undefined also for what is no JSON at all: that is the parser's to say. */
function shapeProblem(text: string, maxDepth: number, maxValues: number): string | undefined {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
      if (at < 0) return undefined;
    } else if (code === COMMA) values++;
    else if ((code | CURLY_BIT) === CLOSING) depth--;
    else if ((code | CURLY_BIT) === OPENING) {
      values++;
      // An empty array at the deepest level is still at it.
      if (++depth > maxDepth + 1) return tooDeep(maxDepth);
    }
    if (values > maxValues) return `has more than ${maxValues} values`;
  }
  return undefined;
}

/** Of the quote that closes the string which opens at `start`; -1 when none does. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let before = at - 1;
    while (text.charCodeAt(before) === BACKSLASH) before--;
    if ((at - before) % 2 === 1) return at;
  }
  return -1;
}

function tooDeep(maxDepth: number): string {
  return `nested deeper than ${maxDepth} levels`;
}

function findProblem(root: Json, maxDepth: number): string | undefined {
  let level: Json[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) return tooDeep(maxDepth);
    const next: Json[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      if (Array.isArray(value)) {
        for (const item of value) next.push(item);
        continue;
      }
      if (Object.hasOwn(value, '__proto__')) return 'has a key named __proto__';
      for (const key of Object.keys(value)) {
        const item = value[key];
        if (item !== undefined) next.push(item);
      }
    }
    level = next;
  }
  return undefined;
}
