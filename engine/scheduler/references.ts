/**
 * References in inputs (design 3.4). An input is any JSON; each string in it is one of
 *   - text,
 *   - a whole reference: `stepId.outputKey` where stepId is a step of this flow, or `${…}` and nothing else:
 *     keeps the JSON type of what it names,
 *   - text with `${stepId.outputKey}` or `${flow.input.key}` inside: interpolated.
 * `$${` writes a literal `${`. Whether a named output exists is checked by plan.ts, not here.
 */
import type { Json, JsonObject } from '@flowops/proto/json.ts';
import { isJsonObject } from '@flowops/proto/json.ts';

export type Reference =
  | { readonly kind: 'output'; readonly stepId: string; readonly key: string }
  | { readonly kind: 'flow-input'; readonly key: string };

export type Template =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'whole'; readonly reference: Reference }
  | { readonly kind: 'mixed'; readonly parts: readonly (string | Reference)[] }
  | { readonly kind: 'broken'; readonly problem: string };

const BARE = /^([A-Za-z0-9_-]{1,128})\.(\S+)$/;
const FLOW_INPUT_PREFIX = 'flow.input.';

/** @param isStep whether a name is a step of this flow. */
export function parseTemplate(text: string, isStep: (name: string) => boolean): Template {
  if (text.includes('${')) return parseMarked(text);
  const bare = BARE.exec(text);
  if (bare?.[1] !== undefined && bare[2] !== undefined && isStep(bare[1])) {
    return { kind: 'whole', reference: { kind: 'output', stepId: bare[1], key: bare[2] } };
  }
  return { kind: 'text', text };
}

function parseMarked(text: string): Template {
  const parts: (string | Reference)[] = [];
  let literal = '';
  let at = 0;
  while (at < text.length) {
    if (text.startsWith('$${', at)) {
      literal += '${';
      at += 3;
      continue;
    }
    if (!text.startsWith('${', at)) {
      literal += text[at];
      at++;
      continue;
    }
    const end = text.indexOf('}', at + 2);
    if (end < 0) return { kind: 'broken', problem: 'has a "${" without "}"; write "$${" for a literal "${"' };
    const inside = text.slice(at + 2, end).trim();
    const reference = parseInside(inside);
    if (reference === undefined) {
      return {
        kind: 'broken',
        problem: `\${${inside.slice(0, 80)}} is no reference; write \${stepId.outputKey} or \${flow.input.key}, or "$\${" for a literal "\${"`,
      };
    }
    if (literal !== '') parts.push(literal);
    literal = '';
    parts.push(reference);
    at = end + 1;
  }
  if (literal !== '') parts.push(literal);
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) {
    return typeof only === 'string' ? { kind: 'text', text: only } : { kind: 'whole', reference: only };
  }
  return { kind: 'mixed', parts };
}

function parseInside(inside: string): Reference | undefined {
  if (inside.startsWith(FLOW_INPUT_PREFIX) && inside.length > FLOW_INPUT_PREFIX.length) {
    return { kind: 'flow-input', key: inside.slice(FLOW_INPUT_PREFIX.length) };
  }
  const bare = BARE.exec(inside);
  return bare?.[1] === undefined || bare[2] === undefined
    ? undefined
    : { kind: 'output', stepId: bare[1], key: bare[2] };
}

/** Every string of an input value, depth first, with its path for messages ("url", "headers.accept", "items[2]"). */
export function* stringsOf(value: Json, path: string): Generator<{ path: string; text: string }> {
  if (typeof value === 'string') yield { path, text: value };
  else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) yield* stringsOf(item, `${path}[${index}]`);
  } else if (isJsonObject(value)) {
    for (const [key, item] of Object.entries(value)) yield* stringsOf(item, `${path}.${key}`);
  }
}

/** The references of a template, for finding dependencies. */
export function referencesOf(template: Template): readonly Reference[] {
  switch (template.kind) {
    case 'whole':
      return [template.reference];
    case 'mixed':
      return template.parts.filter((part) => typeof part !== 'string');
    default:
      return [];
  }
}

/**
 * The value with every reference replaced.
 * @param lookup gives the JSON of a reference; it exists, because plan.ts checked it and its step has completed.
 */
export function resolveValue(
  value: Json,
  isStep: (name: string) => boolean,
  lookup: (reference: Reference) => Json,
): Json {
  if (typeof value === 'string') return resolveText(parseTemplate(value, isStep), value, lookup);
  if (Array.isArray(value)) return value.map((item) => resolveValue(item, isStep, lookup));
  if (!isJsonObject(value)) return value;
  const resolved: JsonObject = {};
  for (const [key, item] of Object.entries(value)) resolved[key] = resolveValue(item, isStep, lookup);
  return resolved;
}

function resolveText(template: Template, text: string, lookup: (reference: Reference) => Json): Json {
  switch (template.kind) {
    case 'text':
      return template.text;
    case 'broken':
      return text;
    case 'whole':
      return lookup(template.reference);
    case 'mixed':
      return template.parts.map((part) => (typeof part === 'string' ? part : asText(lookup(part)))).join('');
  }
}

function asText(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
