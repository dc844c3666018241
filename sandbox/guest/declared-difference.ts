/** Compares what a plugin's code declares with the first line of its bundle (design 6.1). */
import type { Json, JsonObject } from '@flowops/proto/json.ts';
import { isJsonObject } from '@flowops/proto/json.ts';

/** Of a value in the message. */
const MAX_SHOWN = 80;

/** The first field in which they differ, in words; undefined when they say the same. */
export function declaredDifference(firstLine: Json, code: Json): string | undefined {
  const difference = find(firstLine, code, '');
  if (difference === undefined) return undefined;
  const { at, line, declared } = difference;
  return (
    `the code declares something else than the first line of the bundle: ${at} is ${show(declared)} in the code ` +
    `and ${show(line)} in the line; build it again with \`flowops plugin build\``
  );
}

interface Difference {
  readonly at: string;
  readonly line: Json | undefined;
  readonly declared: Json | undefined;
}

function find(line: Json | undefined, declared: Json | undefined, at: string): Difference | undefined {
  if (isJsonObject(line) && isJsonObject(declared)) {
    for (const key of new Set([...Object.keys(line), ...Object.keys(declared)])) {
      const found = find(own(line, key), own(declared, key), at === '' ? key : `${at}.${key}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (Array.isArray(line) && Array.isArray(declared)) {
    const length = Math.max(line.length, declared.length);
    for (let i = 0; i < length; i++) {
      const found = find(line[i], declared[i], `${at}[${i}]`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  return line === declared ? undefined : { at, line, declared };
}

function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function show(value: Json | undefined): string {
  if (value === undefined) return 'missing';
  const text = JSON.stringify(value);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
