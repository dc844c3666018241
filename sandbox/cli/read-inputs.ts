/**
 * The inputs of `sandbox run`, from `--inputs` and `--input`, read by the types that the manifest declares (design 3.6).
 * A wrong call (no JSON, no `=`) is thrown; what does not fit the manifest is returned, all problems at once.
 */
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { nearestName } from '@flowops/proto/ids.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@flowops/proto/json.ts';
import { coerceValue, type Manifest, type ValueType } from '@flowops/proto/manifest.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';

/** A step's inputs have at most this many bytes (design 4). */
export const MAX_INPUT_BYTES = 8 * 1024 * 1024;
/** A wrong value is quoted in its problem up to here. */
const MAX_SHOWN_CHARS = 80;

export interface GivenInputs {
  /** `name=value`, in order; the last one of a name counts. */
  readonly pairs: readonly string[];
  /** A path, or `-` for standard input. `--input` goes over it. */
  readonly file: string | undefined;
}

/** @throws FlowopsError USAGE_INVALID */
export async function collectInputs({ pairs, file }: GivenInputs, stdin: Readable): Promise<JsonObject> {
  // No prototype: an input may be called anything.
  const inputs: JsonObject = Object.assign(
    Object.create(null),
    file === undefined ? {} : await readObject(file, stdin),
  );
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) {
      throw new FlowopsError('USAGE_INVALID', `--input ${showControls(pair)}: write it as name=value`);
    }
    inputs[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return inputs;
}

async function readObject(file: string, stdin: Readable): Promise<JsonObject> {
  const where = file === '-' ? 'standard input' : file;
  const text = file === '-' ? await readStream(stdin) : await readText(file);
  const parsed = parseJson(text);
  if (!parsed.ok) throw new FlowopsError('USAGE_INVALID', `--inputs: ${where} is not JSON: ${parsed.problem}`);
  if (!isJsonObject(parsed.value)) {
    throw new FlowopsError('USAGE_INVALID', `--inputs: ${where} must hold one JSON object of input names and values`);
  }
  return parsed.value;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw new FlowopsError('USAGE_INVALID', `--inputs: ${file} cannot be read: ${messageOf(thrown)}`);
  }
}

async function readStream(stdin: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const buffer = Buffer.from(chunk);
    bytes += buffer.length;
    if (bytes > MAX_INPUT_BYTES) {
      throw new FlowopsError('USAGE_INVALID', `--inputs: standard input has more than ${MAX_INPUT_BYTES} bytes`);
    }
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

export type FittedInputs =
  | { readonly ok: true; readonly json: string }
  | { readonly ok: false; readonly message: string };

/** The text of the inputs as the plugin gets them: declared types, defaults left to the plugin. */
export function fitInputs(given: JsonObject, declared: Manifest['inputs']): FittedInputs {
  const names = Object.keys(declared);
  const problems: string[] = [];
  const fitted: [string, Json][] = [];
  for (const [name, value] of Object.entries(given)) {
    const declaration = Object.hasOwn(declared, name) ? declared[name] : undefined;
    if (declaration === undefined) {
      problems.push(unknownInput(name, names));
      continue;
    }
    const typed = coerceValue(value, declaration.type);
    if (typed === undefined) problems.push(`input ${name} must be ${phrase(declaration.type)}, but is ${shown(value)}`);
    else fitted.push([name, typed]);
  }
  for (const [name, { type, required, default: preset }] of Object.entries(declared)) {
    if (required && preset === undefined && !Object.hasOwn(given, name)) {
      problems.push(`input ${name} (${type}) is required; give it with --input ${name}=…`);
    }
  }
  if (problems.length > 0) return { ok: false, message: problems.join('\n') };
  const json = JSON.stringify(Object.fromEntries(fitted));
  const bytes = Buffer.byteLength(json);
  if (bytes <= MAX_INPUT_BYTES) return { ok: true, json };
  return { ok: false, message: `the inputs have ${bytes} bytes; at most ${MAX_INPUT_BYTES} are allowed` };
}

function unknownInput(name: string, names: readonly string[]): string {
  const near = nearestName(name, names);
  const known = names.length === 0 ? 'it takes none' : `its inputs: ${names.join(', ')}`;
  return `the plugin has no input ${showControls(name)}; ${near === undefined ? known : `did you mean ${near}?`}`;
}

function phrase(type: ValueType): string {
  switch (type) {
    case 'integer':
      return 'a whole number';
    case 'float':
      return 'a number';
    case 'boolean':
      return 'true or false';
    case 'string':
      return 'text';
    case 'json':
      return 'JSON';
  }
}

function shown(value: Json): string {
  const text = showControls(JSON.stringify(value));
  return text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text;
}
