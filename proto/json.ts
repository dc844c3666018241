/** JSON as data: its type, and a parser that bounds depth and refuses `__proto__` keys, for text from outside. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** Deeper than any real document; shallow enough that recursion over it is safe. */
export const MAX_JSON_DEPTH = 64;

export type ParsedJson = { ok: true; value: Json } | { ok: false; problem: string };

/** Parses text from outside. Never throws; the problem is one clause. */
export function parseJson(text: string, maxDepth: number = MAX_JSON_DEPTH): ParsedJson {
  let value: Json;
  try {
    value = JSON.parse(text) as Json; // JSON.parse gives exactly the Json type
  } catch (thrown) {
    return { ok: false, problem: thrown instanceof Error ? thrown.message : 'not JSON' };
  }
  const problem = findProblem(value, maxDepth);
  return problem === undefined ? { ok: true, value } : { ok: false, problem };
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function findProblem(root: Json, maxDepth: number): string | undefined {
  let level: Json[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) return `nested deeper than ${maxDepth} levels`;
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
