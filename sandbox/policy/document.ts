/**
 * A YAML policy as text with places: the plain value, and the line of each key, so that every problem can name file,
 * line and key. Knows YAML and zod issues, nothing about policies. Never throws.
 */
import { nearestName } from '@flowops/proto/ids.ts';
import { isAlias, isMap, isScalar, isSeq, LineCounter, type ParsedNode, parseDocument } from 'yaml';
import { z } from 'zod';

/** A rule takes some 100 bytes: room for all that the schema allows, small enough to parse at once. */
export const MAX_POLICY_BYTES = 1024 * 1024;
/** Anchors may be used; a document that unfolds to more nodes than this is an attack on the parser. */
const MAX_ALIASES = 100;

export type KeyPath = readonly (string | number)[];

export interface PolicyProblem {
  /** As the operator named it. */
  readonly file: string;
  /** From 1; 0 = the file as a whole. */
  readonly line: number;
  /** "rules[1].limits.memoryMb"; empty = the file as a whole. */
  readonly key: string;
  /** One clause. */
  readonly message: string;
}

export interface PolicyText {
  readonly file: string;
  readonly value: unknown;
  /** Line of the key at the path, or of the nearest one above it that exists. */
  lineOf(path: KeyPath): number;
  problem(path: KeyPath, message: string): PolicyProblem;
}

export type ReadText = { ok: true; text: PolicyText } | { ok: false; problems: readonly PolicyProblem[] };

export function readPolicyText(file: string, source: string): ReadText {
  const counter = new LineCounter();
  const document = parseDocument(source, { lineCounter: counter, prettyErrors: false });
  const problems: PolicyProblem[] = [...document.errors, ...document.warnings].map((error) => ({
    file,
    line: counter.linePos(error.pos[0]).line,
    key: '',
    message: `not valid YAML: ${error.message}`,
  }));
  if (problems.length > 0) return { ok: false, problems };
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return { ok: false, problems: [{ file, line: 0, key: '', message: `not valid YAML: ${message}` }] };
  }
  const lineOf = (path: KeyPath): number => {
    const offset = offsetOf(document.contents, path);
    return offset === undefined ? 1 : counter.linePos(offset).line;
  };
  const text: PolicyText = {
    file,
    value,
    lineOf,
    problem: (path, message) => ({ file, line: lineOf(path), key: formatPath(path), message }),
  };
  const proto = findProtoKey(document.contents, []);
  return proto === undefined
    ? { ok: true, text }
    : { ok: false, problems: [text.problem(proto, 'a key cannot have this name')] };
}

/** zod leaves such a key out of a record without a word; here nothing may go unread. */
function findProtoKey(node: unknown, path: KeyPath): KeyPath | undefined {
  if (isMap(node)) {
    for (const pair of node.items) {
      const name = isScalar(pair.key) ? String(pair.key.value) : '';
      const here = [...path, name];
      const found = name === '__proto__' ? here : findProtoKey(pair.value, here);
      if (found !== undefined) return found;
    }
  } else if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) {
      const found = findProtoKey(item, [...path, index]);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function offsetOf(root: ParsedNode | null, path: KeyPath): number | undefined {
  let node: unknown = root;
  let offset = root?.range[0];
  for (const part of path) {
    if (isAlias(node)) return offset; // what stands behind an anchor is shown where it is used
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
      if (pair === undefined || !isScalar(pair.key)) return offset;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      const item: unknown = node.items[part];
      if (item === undefined) return offset;
      if (isMap(item) || isSeq(item) || isScalar(item) || isAlias(item)) offset = item.range?.[0] ?? offset;
      node = item;
    } else {
      return offset;
    }
  }
  return offset;
}

export function formatPath(path: KeyPath): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');
}

/** One line for a person: `sandbox-policy.yaml:14: rules[1].match.plugin: …`. */
export function formatProblem({ file, line, key, message }: PolicyProblem): string {
  return `${file}${line > 0 ? `:${line}` : ''}: ${key === '' ? '' : `${key}: `}${message}`;
}

/** What a schema finds, each unknown key a problem of its own with the nearest known one. */
export function problemsOf(text: PolicyText, schema: z.ZodType, error: z.ZodError): PolicyProblem[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
    if (issue.code === 'unrecognized_keys') {
      const known = keysAt(schema, path);
      return issue.keys.map((key) => {
        const near = nearestName(key, known);
        const hint = near === undefined ? `known: ${known.join(', ')}` : `did you mean ${near}?`;
        return text.problem([...path, key], `unknown key; ${hint}`);
      });
    }
    if (issue.code === 'invalid_key') {
      return [text.problem(path, issue.issues.map((inner) => inner.message).join('; '))];
    }
    return [text.problem(path, messageOfIssue(issue, valueAt(text.value, path)))];
  });
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  object: 'keys and values',
  record: 'keys and values',
  array: 'a list',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function messageOfIssue(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined) return 'is missing';
  if (issue.code !== 'invalid_type' || !issue.message.startsWith('Invalid input')) return issue.message;
  const quote = issue.expected === 'string' && typeof value === 'number' ? '; write it in quotes' : '';
  return `must be ${TYPE_WORDS[issue.expected] ?? issue.expected}${value === null ? ', but is empty' : ''}${quote}`;
}

function valueAt(root: unknown, path: KeyPath): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = Reflect.get(value, part);
  }
  return value;
}

/** The keys a closed object schema knows at a path. */
function keysAt(root: z.ZodType, path: KeyPath): string[] {
  let schema: unknown = root;
  for (const part of path) schema = childOf(unwrapped(schema), part);
  const object = unwrapped(schema);
  return object instanceof z.ZodObject ? Object.keys(object.shape) : [];
}

function childOf(schema: unknown, part: string | number): unknown {
  if (schema instanceof z.ZodObject) return schema.shape[part];
  if (schema instanceof z.ZodArray) return schema.element;
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return undefined;
}

function unwrapped(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional) inner = inner.unwrap();
  return inner;
}
