/**
 * Values as text for console: strings as they are, the rest like literals, bounded in depth, width and length. Runs
 * getters and proxies of the plugin only as far as a property read does, and never throws.
 */
import {
  isArray,
  jsonStringify,
  objectIs,
  reflectGetOwnPropertyDescriptor,
  reflectOwnKeys,
  textCharCodeAt,
  textIndexOf,
  textSlice,
  toText,
} from '@flowops/sdk/primordials.ts';
import { describeThrown } from '@flowops/sdk/thrown.ts';
import { MAX_LOG_MESSAGE_LENGTH } from '../guest-protocol.ts';

const MAX_DEPTH = 4;
const MAX_ITEMS = 100;

/** As console.log does, with the directives %s %d %i %f %j %o %O %%. */
export function formatArguments(values: readonly unknown[]): string {
  const first = values[0];
  let text = '';
  let next = 0;
  if (typeof first === 'string') {
    next = 1;
    if (values.length === 1 || textIndexOf(first, '%') < 0) text = first;
    else [text, next] = formatDirectives(first, values);
  }
  for (; next < values.length && text.length <= MAX_LOG_MESSAGE_LENGTH; next++) {
    const value = values[next];
    text += (next === 0 ? '' : ' ') + (typeof value === 'string' ? value : formatValue(value));
  }
  return text;
}

function formatDirectives(template: string, values: readonly unknown[]): [text: string, next: number] {
  let text = '';
  let from = 0;
  let next = 1;
  for (;;) {
    const at = textIndexOf(template, '%', from);
    if (at < 0 || at + 1 >= template.length) break;
    const directive = template[at + 1];
    text += textSlice(template, from, at);
    from = at + 2;
    if (directive === '%') text += '%';
    else if (next < values.length && isDirective(directive)) text += formatDirective(directive, values[next++]);
    else text += `%${directive}`;
  }
  return [text + textSlice(template, from), next];
}

function isDirective(character: string | undefined): character is 's' | 'd' | 'i' | 'f' | 'j' | 'o' | 'O' {
  return character !== undefined && textIndexOf('sdifjoO', character) >= 0;
}

function formatDirective(directive: 's' | 'd' | 'i' | 'f' | 'j' | 'o' | 'O', value: unknown): string {
  if (directive === 's' && typeof value === 'string') return value;
  if (directive === 'd' || directive === 'i' || directive === 'f') {
    if (typeof value === 'number') return toText(directive === 'i' ? value - (value % 1) : value);
    if (typeof value !== 'string') return typeof value === 'bigint' ? formatValue(value) : 'NaN';
    return toText(Number(value));
  }
  return formatValue(value);
}

export function formatValue(value: unknown): string {
  try {
    return format(value, 0);
  } catch {
    return '[cannot be read]';
  }
}

function format(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      return jsonStringify(textSlice(value, 0, MAX_LOG_MESSAGE_LENGTH));
    case 'number':
      return objectIs(value, -0) ? '-0' : toText(value);
    case 'bigint':
      // A BigInt as text takes time that grows with the square of its length, so a huge one is only named.
      return value > -(2n ** 256n) && value < 2n ** 256n ? `${toText(value)}n` : '[a huge BigInt]';
    case 'symbol':
      return toText(value);
    case 'function':
      return formatFunction(value);
    case 'object':
      return value === null ? 'null' : formatObject(value, depth);
    default:
      return toText(value);
  }
}

function formatFunction(value: object): string {
  const name: unknown = (value as { readonly name?: unknown }).name;
  return typeof name === 'string' && name !== '' ? `[function ${textSlice(name, 0, 100)}]` : '[function]';
}

function formatObject(value: object, depth: number): string {
  if (isArray(value)) return depth >= MAX_DEPTH ? '[…]' : formatArray(value, depth);
  const error = formatError(value);
  if (error !== undefined) return error;
  if (value instanceof Date) return toText(value);
  if (depth >= MAX_DEPTH) return '{…}';
  const keys = reflectOwnKeys(value);
  const name = constructorName(value);
  let text = '';
  let shown = 0;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    if (key === undefined) continue;
    const property = reflectGetOwnPropertyDescriptor(value, key);
    if (property?.enumerable !== true) continue;
    if (shown === MAX_ITEMS) {
      text += ', …';
      break;
    }
    const item = property.get === undefined ? format(property.value, depth + 1) : '[getter]';
    text += `${shown === 0 ? '' : ', '}${formatKey(key)}: ${item}`;
    shown++;
    if (text.length > MAX_LOG_MESSAGE_LENGTH) break;
  }
  const entries = formatEntries(value, depth);
  const body = entries === undefined ? text : entries;
  return `${name}${body === '' ? '{}' : `{ ${body} }`}`;
}

function formatArray(value: readonly unknown[], depth: number): string {
  let text = '';
  for (let i = 0; i < value.length; i++) {
    if (i === MAX_ITEMS || text.length > MAX_LOG_MESSAGE_LENGTH) {
      text += `, … ${value.length - i} more`;
      break;
    }
    text += (i === 0 ? '' : ', ') + format(value[i], depth + 1);
  }
  return text === '' ? '[]' : `[ ${text} ]`;
}

function formatEntries(value: object, depth: number): string | undefined {
  const isMap = value instanceof Map;
  if (!isMap && !(value instanceof Set)) return undefined;
  let text = '';
  let count = 0;
  value.forEach((item: unknown, key: unknown) => {
    if (count++ >= MAX_ITEMS || text.length > MAX_LOG_MESSAGE_LENGTH) return;
    const shown = isMap ? `${format(key, depth + 1)} => ${format(item, depth + 1)}` : format(item, depth + 1);
    text += (text === '' ? '' : ', ') + shown;
  });
  return text;
}

function formatError(value: object): string | undefined {
  if (!(value instanceof Error)) return undefined;
  const { message, stack } = describeThrown(value);
  return stack === '' ? message : stack;
}

function constructorName(value: object): string {
  const named: unknown = (value as { readonly constructor?: { readonly name?: unknown } }).constructor?.name;
  return typeof named === 'string' && named !== '' && named !== 'Object' ? `${textSlice(named, 0, 100)} ` : '';
}

function formatKey(key: string | symbol): string {
  if (typeof key === 'symbol') return `[${toText(key)}]`;
  for (let i = 0; i < key.length; i++) {
    const code = textCharCodeAt(key, i);
    const isWord =
      (code >= 97 && code <= 122) ||
      (code >= 65 && code <= 90) ||
      (code >= 48 && code <= 57) ||
      code === 95 ||
      code === 36;
    if (!isWord) return jsonStringify(textSlice(key, 0, 200));
  }
  return key === '' ? '""' : textSlice(key, 0, 200);
}
